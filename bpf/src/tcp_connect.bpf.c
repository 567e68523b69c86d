// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// Latency and outcome of every outgoing TCP connect, by one program on inet_sock_set_state.
//
// CLOSE->SYN_SENT happens inside connect(2), so the current task is the caller: its identity and the time are kept by
// socket. SYN_SENT (or SYN_RECV, in a simultaneous open) -> ESTABLISHED ends it well, -> CLOSE ends it badly; both
// mostly in softirq, where the current task is anyone. The table of starts is an LRU of 16,384 x 64 B: past it the
// oldest connect in flight loses its start, and its end is counted as COUNT_NO_START.
#include "core_types.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ring.h"

struct start {
	__u64 time_ns;
	__u64 cgroup_id;
	__u32 pid;
	__u16 remote_port; // the kernel clears the socket's own when routing or binding fails
	__u16 family;
	__u8 remote_addr[16];
	char comm[COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64); // address of the socket
	__type(value, struct start);
} starts SEC(".maps");

static __always_inline void begin(const struct sock *sk, __u64 key)
{
	struct start start = {};
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	start.time_ns = bpf_ktime_get_ns();
	start.cgroup_id = bpf_get_current_cgroup_id();
	start.pid = bpf_get_current_pid_tgid() >> 32;
	start.family = sk->__sk_common.skc_family;
	start.remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	if (start.family == AF_INET)
		BPF_CORE_READ_INTO((__be32 *)start.remote_addr, sk, __sk_common.skc_daddr);
	else if (bpf_core_field_exists(sk->__sk_common.skc_v6_daddr))
		bpf_core_read(start.remote_addr, 16, &sk->__sk_common.skc_v6_daddr);
	BPF_CORE_READ_INTO(&start.comm, task, group_leader, comm);
	if (bpf_map_update_elem(&starts, &key, &start, BPF_ANY))
		count(COUNT_NO_SLOT);
}

static __always_inline void end(const struct sock *sk, __u64 key, int newstate, _Bool ours)
{
	struct tcp_connect_event *event;
	struct start *start = bpf_map_lookup_elem(&starts, &key);

	if (!start) {
		if (ours)
			count(COUNT_NO_START);
		return;
	}
	event = reserve(sizeof(*event));
	if (event) {
		event->end_ns = bpf_ktime_get_ns();
		event->latency_ns = event->end_ns - start->time_ns;
		event->cgroup_id = start->cgroup_id;
		event->pid = start->pid;
		event->result = newstate == TCP_ESTABLISHED ? CONNECT_OK : CONNECT_FAILED;
		event->error = newstate == TCP_ESTABLISHED ? 0 : sk->sk_err;
		event->family = start->family;
		event->local_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
		event->remote_port = start->remote_port;
		event->zero = 0;
		__builtin_memset(event->local_addr, 0, sizeof(event->local_addr));
		if (start->family == AF_INET)
			BPF_CORE_READ_INTO((__be32 *)event->local_addr, sk, __sk_common.skc_rcv_saddr);
		else if (bpf_core_field_exists(sk->__sk_common.skc_v6_rcv_saddr))
			bpf_core_read(event->local_addr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		__builtin_memcpy(event->remote_addr, start->remote_addr, sizeof(event->remote_addr));
		__builtin_memcpy(event->comm, start->comm, sizeof(event->comm));
		bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	}
	bpf_map_delete_elem(&starts, &key);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_connect, const struct sock *sk, int oldstate, int newstate)
{
	__u64 key = (__u64)sk;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (oldstate == TCP_CLOSE && newstate == TCP_SYN_SENT)
		begin(sk, key);
	else if ((oldstate == TCP_SYN_SENT || oldstate == TCP_SYN_RECV) &&
		 (newstate == TCP_ESTABLISHED || newstate == TCP_CLOSE))
		// Passive opens come from SYN_RECV too: without a start they are none of ours.
		end(sk, key, newstate, oldstate == TCP_SYN_SENT);
	return 0;
}
