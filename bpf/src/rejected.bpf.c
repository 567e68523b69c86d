// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// For tests: a program that every verifier rejects (a map value used without a null check) beside one that it accepts,
// so that the agent's account of a rejection, and that the rest runs, can be tested against a real one.
#include "core_types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ring.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} cells SEC(".maps");

SEC("tp_btf/sched_process_exit")
int BPF_PROG(rejected, struct task_struct *task)
{
	__u32 key = task->pid;
	__u64 *cell = bpf_map_lookup_elem(&cells, &key);

	return *cell == 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(accepted, struct task_struct *task)
{
	return 0;
}
