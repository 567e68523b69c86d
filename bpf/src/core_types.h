// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// The kernel types our programs read, and of each only the members they read.
//
// Names and types of members are the kernel's; offsets are not: preserve_access_index makes clang note every access
// in .BTF.ext, and the loader moves it to where the running kernel keeps that member (CO-RE). So this replaces a
// vmlinux.h of some 100,000 lines, and one object runs on every kernel with BTF from 5.8 on.
// A suffix of three underscores (struct x___old) is a flavour: the same kernel type as another version has it.
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

// linux/socket.h and linux/in.h have these as macros or enums that pull in too much.
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6

// include/net/tcp_states.h
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	__u8 bytes[16];
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol; // a bit field before 5.6
	int sk_err;
};

struct inet_sock {
	__be16 inet_sport;
};

struct signal_struct {
	struct task_struct *group_exec_task; // 5.17 and later
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct signal_struct *signal;
};

struct linux_binprm {
	const char *filename;
};

#pragma clang attribute pop
