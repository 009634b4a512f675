/*
 * Clients that closing a listener would reset; see the header. The acceptor's thread and the main
 * thread.
 *
 * The kernel gives the listener's filter each segment from the TCP header on, for IPv4 and IPv6
 * alike, and the last one of a handshake too. So a filter that drops SYN lets those that have begun
 * come to their end.
 */
#include "echopool/net/newcomers.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

/* Where the flags are in a TCP header. */
#define TCP_FLAGS_OFFSET 13

bool newcomers_ignore(int listener_fd)
{
	/* Whatever else is set, SYN without ACK is a newcomer. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, TCP_FLAGS_OFFSET),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return setsockopt(listener_fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0;
}

void newcomers_release(int fd)
{
	const int unused = 0;

	/* What has no filter needs none taken away: an error says just that. */
	(void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
}

/* Asks for the half-open connections of a port (sock_diag(7)). */
static bool ask(int fd, const struct listener *l)
{
	const struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} message = {
		.header = {.nlmsg_len = sizeof(message),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = {.sdiag_family = (uint8_t)l->address.any.sa_family,
			    .sdiag_protocol = IPPROTO_TCP,
			    .idiag_states = 1U << TCP_SYN_RECV,
			    .id.idiag_sport = htons(address_port(&l->address))},
	};

	return sendto(fd, &message, sizeof(message), MSG_DONTWAIT, NULL, 0) ==
	       (ssize_t)sizeof(message);
}

/* The answer is there when sendto() returns. Without one of them it says so at once. */
static bool answer_is_none(int fd)
{
	union {
		struct nlmsghdr header;
		char bytes[8192];
	} answer;
	const ssize_t n = recvfrom(fd, &answer, sizeof(answer), MSG_DONTWAIT, NULL, NULL);

	return n >= (ssize_t)sizeof(answer.header) && answer.header.nlmsg_type == NLMSG_DONE;
}

bool newcomers_are_half_open(const struct listener *l)
{
	const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	bool none;

	if (fd < 0)
		return true;
	none = ask(fd, l) && answer_is_none(fd);
	close(fd); /* only asked a question */
	return !none;
}
