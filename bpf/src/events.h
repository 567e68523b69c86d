// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// What crosses the ring buffers: fixed size, host byte order (addresses and what is said otherwise: network order),
// no implicit padding. lib.rs has the same structs; each LAYOUT line is checked here by the compiler, and against
// lib.rs by a Rust test that reads this very file. Change both, rebuild with build.sh.
#pragma once

#include <linux/types.h>

#define COMM_LEN 16
#define PATH_LEN 128

enum connect_result { CONNECT_OK = 1, CONNECT_FAILED = 2 };
enum process_kind { PROCESS_EXEC = 1, PROCESS_EXIT = 2 };

// Slots of each object's per-CPU `counters`.
enum counter {
	COUNT_SENT = 0,      // events given to the ring
	COUNT_RING_FULL = 1, // events lost: no room in the ring
	COUNT_NO_START = 2,  // connects that ended without a known start: begun before us, or pushed out of the LRU
	COUNT_NO_SLOT = 3,   // connects whose start could not be stored
	COUNTERS = 4,
};

struct tcp_connect_event {
	__u64 end_ns;     // CLOCK_MONOTONIC
	__u64 latency_ns; // from CLOSE->SYN_SENT to the end
	__u64 cgroup_id;  // cgroup v2, of whoever called connect
	__u32 pid;        // thread group id, initial PID namespace
	__u32 error;      // sk_err: an errno; 0 with CONNECT_FAILED: closed by its owner before it was answered
	__u16 family;     // AF_INET or AF_INET6
	__u16 local_port;
	__u16 remote_port;
	__u8 result; // enum connect_result
	__u8 zero;
	__u8 local_addr[16]; // network order; AF_INET: the first four
	__u8 remote_addr[16];
	char comm[COMM_LEN]; // of the thread group's leader
};

struct process_event {
	__u64 time_ns; // CLOCK_MONOTONIC
	__u64 cgroup_id;
	__u32 pid;
	__u32 parent_pid;
	__u32 kind;      // enum process_kind
	__u32 exit_code; // as wait(2) gives it: code << 8 | signal; 0 for exec
	char comm[COMM_LEN];
	char path[PATH_LEN]; // exec: the file's name as given to execve, cut at PATH_LEN-1; else empty
};

#define LAYOUT(type, member, offset, size)                                                   \
	_Static_assert(__builtin_offsetof(struct type, member) == (offset), #type "." #member); \
	_Static_assert(sizeof(((struct type *)0)->member) == (size), #type "." #member)
#define SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

SIZE(tcp_connect_event, 88);
LAYOUT(tcp_connect_event, end_ns, 0, 8);
LAYOUT(tcp_connect_event, latency_ns, 8, 8);
LAYOUT(tcp_connect_event, cgroup_id, 16, 8);
LAYOUT(tcp_connect_event, pid, 24, 4);
LAYOUT(tcp_connect_event, error, 28, 4);
LAYOUT(tcp_connect_event, family, 32, 2);
LAYOUT(tcp_connect_event, local_port, 34, 2);
LAYOUT(tcp_connect_event, remote_port, 36, 2);
LAYOUT(tcp_connect_event, result, 38, 1);
LAYOUT(tcp_connect_event, zero, 39, 1);
LAYOUT(tcp_connect_event, local_addr, 40, 16);
LAYOUT(tcp_connect_event, remote_addr, 56, 16);
LAYOUT(tcp_connect_event, comm, 72, 16);
SIZE(process_event, 176);
LAYOUT(process_event, time_ns, 0, 8);
LAYOUT(process_event, cgroup_id, 8, 8);
LAYOUT(process_event, pid, 16, 4);
LAYOUT(process_event, parent_pid, 20, 4);
LAYOUT(process_event, kind, 24, 4);
LAYOUT(process_event, exit_code, 28, 4);
LAYOUT(process_event, comm, 32, 16);
LAYOUT(process_event, path, 48, 128);
