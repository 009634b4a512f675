// The same server in Go: a goroutine for each client. "echo PORT" listens on 127.0.0.1 and ends by
// SIGTERM. bench/compare.py runs it beside echopool.
//
// Go's net package sets TCP_NODELAY on every connection, takes the kernel's limit as backlog, and
// raises the limit of descriptors.
package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// As large as echopool's limits.buffer_bytes by default.
const bufferBytes = 65536

func echo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, bufferBytes)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			if _, err := conn.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: echo PORT")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for {
		conn, err := listener.Accept()
		if err != nil {
			// Descriptors are short, or the client is gone already. The others are served on.
			fmt.Fprintln(os.Stderr, "echo:", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go echo(conn)
	}
}
