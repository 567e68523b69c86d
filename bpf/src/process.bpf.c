// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// Start and end of programs: exec, and exit of thread-group leaders.
//
// A leader's exit is the process's, except where another thread calls execve: then the kernel ends the old leader and
// the process lives on under the same id. signal->group_exec_task tells (5.17 and later; on older kernels such an exec
// shows as an exit followed by an exec of the same pid). A leader that leaves early (pthread_exit in main) is reported
// when it leaves. On both hooks the current task is the process itself, still in its cgroup.
#include "core_types.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ring.h"

static __always_inline struct process_event *describe(struct task_struct *task, __u32 kind)
{
	struct process_event *event = reserve(sizeof(*event));

	if (!event)
		return 0;
	event->time_ns = bpf_ktime_get_ns();
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->pid = task->tgid;
	event->parent_pid = BPF_CORE_READ(task, real_parent, tgid);
	event->kind = kind;
	event->exit_code = 0;
	BPF_CORE_READ_INTO(&event->comm, task, comm);
	__builtin_memset(event->path, 0, sizeof(event->path));
	return event;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct process_event *event = describe(task, PROCESS_EXEC);

	if (!event)
		return 0;
	bpf_probe_read_kernel_str(event->path, sizeof(event->path), BPF_CORE_READ(bprm, filename));
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct process_event *event;

	if (task->pid != task->tgid)
		return 0;
	if (bpf_core_field_exists(task->signal->group_exec_task) && BPF_CORE_READ(task, signal, group_exec_task))
		return 0;
	event = describe(task, PROCESS_EXIT);
	if (!event)
		return 0;
	event->exit_code = task->exit_code;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}
