/*
 * The CPU quota of control groups, from files that are made up.
 */
#include "echopool/base/cpu_quota.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmocka_setup.h"

static char top[] = "/tmp/echopool-quota-XXXXXX";

static const char v2_mount[] = "30 23 0:27 / %s rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";
static const char v1_mount[] = "24 23 0:20 / /proc rw - proc proc rw\n"
			       "31 23 0:28 / %1$s/pids rw - cgroup cgroup rw,pids\n"
			       "32 23 0:29 / %1$s rw - cgroup cgroup rw,cpu,cpuacct\n"
			       "33 23 0:30 / %1$s/named rw - cgroup cgroup rw,name=cpu\n";

/* Writes a file below top, and makes its folders. */
static void write_file(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (char *c = path + strlen(top) + 1; (c = strchr(c, '/')); c++) {
		*c = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*c = '/';
	}
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *place)
{
	(void)st;
	(void)flag;
	return place->level ? remove(path) : 0;
}

static int begin(void **state)
{
	(void)state;
	return nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* What is read of a process in these groups, with these mounts, whose %s is top. */
static struct cpu_quota quota_of(const char *groups, const char *mounts_of_top)
{
	char text[4 * PATH_MAX], group_file[PATH_MAX], mount_file[PATH_MAX];
	struct cpu_quota q;

	snprintf(group_file, sizeof(group_file), "%s/cgroup", top);
	snprintf(mount_file, sizeof(mount_file), "%s/mountinfo", top);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), mounts_of_top, top);
#pragma GCC diagnostic pop
	write_file("cgroup", groups);
	write_file("mountinfo", text);
	cpu_quota_read_files(&q, group_file, mount_file);
	return q;
}

static void assert_quota(struct cpu_quota q, double cpus, const char *group)
{
	assert_true(fabs(q.cpus - cpus) < 1e-9);
	if (cpus > 0)
		assert_string_equal(q.group + strlen(top), group);
}

static void test_version_2_at_every_level(void **state)
{
	static const char groups[] = "0::/system.slice/echopool.service\n";

	(void)state;
	write_file("system.slice/echopool.service/cpu.max", "max 100000\n");
	write_file("system.slice/cpu.max", "max 100000\n");
	assert_quota(quota_of(groups, v2_mount), 0, "");
	write_file("system.slice/echopool.service/cpu.max", "250000 100000\n");
	assert_quota(quota_of(groups, v2_mount), 2.5, "/system.slice/echopool.service");
	write_file("system.slice/cpu.max", "10000 20000\n");
	assert_quota(quota_of(groups, v2_mount), 0.5, "/system.slice");
	write_file("system.slice/cpu.max", "300000 100000\n");
	assert_quota(quota_of(groups, v2_mount), 2.5, "/system.slice/echopool.service");
	/* That of a container, which sees its own group as the root. */
	write_file("cpu.max", "150000 100000\n");
	assert_quota(quota_of(groups, v2_mount), 1.5, "");
	assert_quota(quota_of("0::/\n", v2_mount), 1.5, "");
	assert_quota(quota_of("0::/../neighbour\n", v2_mount), 1.5, "");
}

static void test_version_1_at_every_level(void **state)
{
	static const char groups[] = "12:pids:/elsewhere\n4:cpuset:/x\n3:cpu,cpuacct:/a/b\n"
				     "1:name=systemd:/y\n0::/z\n";

	(void)state;
	write_file("a/b/cpu.cfs_quota_us", "-1\n");
	write_file("a/b/cpu.cfs_period_us", "100000\n");
	write_file("elsewhere/cpu.cfs_quota_us", "1000\n");
	write_file("elsewhere/cpu.cfs_period_us", "100000\n");
	assert_quota(quota_of(groups, v1_mount), 0, "");
	write_file("a/b/cpu.cfs_quota_us", "75000\n");
	assert_quota(quota_of(groups, v1_mount), 0.75, "/a/b");
	write_file("a/cpu.cfs_quota_us", "20000\n");
	assert_quota(quota_of(groups, v1_mount), 0.75, "/a/b"); /* without its period */
	write_file("a/cpu.cfs_period_us", "50000\n");
	assert_quota(quota_of(groups, v1_mount), 0.4, "/a");
}

static void test_a_container_that_sees_only_its_group(void **state)
{
	static const char mounts[] = "32 23 0:29 /docker/abc %s ro - cgroup cgroup rw,cpu\n";

	(void)state;
	write_file("cpu.cfs_quota_us", "50000\n");
	write_file("cpu.cfs_period_us", "100000\n");
	write_file("inner/cpu.cfs_quota_us", "30000\n");
	write_file("inner/cpu.cfs_period_us", "100000\n");
	assert_quota(quota_of("3:cpu:/docker/abc\n", mounts), 0.5, "");
	assert_quota(quota_of("3:cpu:/docker/abcd\n", mounts), 0.5, "");
	assert_quota(quota_of("3:cpu:/docker/abc/inner\n", mounts), 0.3, "/inner");
	assert_quota(quota_of("3:cpu:/\n", mounts), 0.5, "");
}

static void test_lines_that_are_not_whole_are_passed_over(void **state)
{
	static const char mounts[] = "nonsense\n"
				     "30 23 0:27 / - cgroup2\n"
				     " - cgroup2 cgroup2 rw\n"
				     "30 23 0:27 / %s rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

	(void)state;
	write_file("cpu.max", "50000 100000\n");
	assert_quota(quota_of("0::/\n", mounts), 0.5, "");
	write_file("cpu.max", "50000 0\n");
	assert_quota(quota_of("0::/\n", mounts), 0, "");
}

/* "0::" and a path of this length. */
static const char *long_group(char text[static PATH_MAX + 64], size_t length)
{
	memcpy(text, "0::/", 4);
	memset(text + 4, 'x', length - 1);
	memcpy(text + 3 + length, "\n", 2);
	return text;
}

/* Such a group has no files, as no path is longer than PATH_MAX. */
static void test_a_group_with_a_name_that_is_too_long_has_no_quota(void **state)
{
	char groups[PATH_MAX + 64];

	(void)state;
	/* Too long with the mount before it, or only with the name of the file behind it. */
	assert_quota(quota_of(long_group(groups, PATH_MAX - 10), v2_mount), 0, "");
	assert_quota(quota_of(long_group(groups, PATH_MAX - 3 - strlen(top)), v2_mount), 0, "");
	/* A line that is too long is passed over, and so is its end. */
	assert_quota(quota_of(long_group(groups, PATH_MAX + 32), v2_mount), 0, "");
	groups[PATH_MAX + 35] = '\0';
	assert_quota(quota_of(groups, v2_mount), 0, "");
}

static void test_throttling_of_a_group_that_cannot_be_named(void **state)
{
	struct cpu_quota q = {.cpus = 1};

	(void)state;
	memset(q.group, 'x', sizeof(q.group) - 1);
	assert_int_equal(cpu_quota_throttling(&q).periods, 0);
}

static void test_both_versions_at_once(void **state)
{
	static const char mounts[] = "30 23 0:27 / %1$s/two rw - cgroup2 cgroup2 rw\n"
				     "32 23 0:29 / %1$s/one rw - cgroup cgroup rw,cpu\n";
	static const char groups[] = "3:cpu:/a\n0::/b\n";

	(void)state;
	write_file("one/a/cpu.cfs_quota_us", "150000\n");
	write_file("one/a/cpu.cfs_period_us", "100000\n");
	assert_quota(quota_of(groups, mounts), 1.5, "/one/a");
	write_file("two/b/cpu.max", "100000 100000\n");
	assert_quota(quota_of(groups, mounts), 1, "/two/b");
}

static void test_what_cannot_be_read_is_no_quota(void **state)
{
	static const char *const limits[] = {
		"", "\n", "max\n", "100000\n", "100000 0\n", "-1 100000\n", "many 100000\n"};
	char long_line[6000];
	struct cpu_quota q;

	(void)state;
	cpu_quota_read_files(&q, "/nowhere/cgroup", "/nowhere/mountinfo");
	assert_quota(q, 0, "");
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		write_file("a/cpu.max", limits[i]);
		assert_quota(quota_of("0::/a\n", v2_mount), 0, "");
	}
	write_file("a/cpu.max", "50000 100000\n");
	assert_quota(quota_of("0::/a\n", ""), 0, "");
	assert_quota(quota_of("0::/a\n", "30 23 0:27 / %s rw\n"), 0, "");
	assert_quota(quota_of("\n0\n0:\n:\n", v2_mount), 0, "");
	/* A long line of another file system is passed over. */
	memset(long_line, 'x', sizeof(long_line));
	snprintf(long_line + sizeof(long_line) - sizeof(v2_mount) - 1, sizeof(v2_mount) + 1, "\n%s",
		 v2_mount);
	assert_quota(quota_of("0::/a\n", long_line), 0.5, "/a");
}

static void test_how_often_it_was_used_up(void **state)
{
	struct cpu_throttling t;
	struct cpu_quota q;

	(void)state;
	write_file("a/cpu.max", "50000 100000\n");
	q = quota_of("0::/a\n", v2_mount);
	t = cpu_quota_throttling(&q);
	assert_int_equal(t.periods + t.throttled, 0);
	write_file("a/cpu.stat", "usage_usec 5\nnr_periods 20\nnr_throttled 15\nnr_bursts 3\n");
	t = cpu_quota_throttling(&q);
	assert_int_equal(t.periods, 20);
	assert_int_equal(t.throttled, 15);
	q.cpus = 0;
	assert_int_equal(cpu_quota_throttling(&q).periods, 0);
}

static void test_this_process_can_be_asked(void **state)
{
	struct cpu_quota own, same;

	(void)state;
	cpu_quota_read(&own, 0);
	cpu_quota_read(&same, getpid());
	assert_true(own.cpus >= 0 && fabs(own.cpus - same.cpus) < 1e-9);
	assert_string_equal(own.group, same.group);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_version_2_at_every_level, begin),
		cmocka_unit_test_setup(test_version_1_at_every_level, begin),
		cmocka_unit_test_setup(test_a_container_that_sees_only_its_group, begin),
		cmocka_unit_test_setup(test_lines_that_are_not_whole_are_passed_over, begin),
		cmocka_unit_test_setup(test_a_group_with_a_name_that_is_too_long_has_no_quota,
				       begin),
		cmocka_unit_test(test_throttling_of_a_group_that_cannot_be_named),
		cmocka_unit_test_setup(test_both_versions_at_once, begin),
		cmocka_unit_test_setup(test_what_cannot_be_read_is_no_quota, begin),
		cmocka_unit_test_setup(test_how_often_it_was_used_up, begin),
		cmocka_unit_test(test_this_process_can_be_asked),
	};
	int failed;

	if (!mkdtemp(top))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (begin(NULL) == 0)
		rmdir(top);
	return failed;
}
