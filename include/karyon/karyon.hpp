#pragma once

// Karyon's public interface within a process. Single rooms: <karyon/cell/runtime.hpp>, <karyon/supervise/supervisor.hpp>, ...
// Not here, since few programs need it and it takes time to compile: other processes (<karyon/nerve/node.hpp>), broadcasts by
// subject (<karyon/nerve/endocrine.hpp>), the rhizome engine (<karyon/organelle/rhizome.hpp>), simulation (<karyon/sim/testing.hpp>),
// CAF actors (<karyon/interop/caf.hpp>).

#include <karyon/cell/broadcast.hpp>
#include <karyon/cell/cell.hpp>
#include <karyon/cell/crash_report.hpp>
#include <karyon/cell/runtime.hpp>
#include <karyon/cell/task.hpp>
#include <karyon/core/log.hpp>
#include <karyon/core/result.hpp>
#include <karyon/core/version.hpp>
#include <karyon/discover/groups.hpp>
#include <karyon/discover/member.hpp>
#include <karyon/discover/paths.hpp>
#include <karyon/discover/registry.hpp>
#include <karyon/matrix/gradient.hpp>
#include <karyon/matrix/owned_table.hpp>
#include <karyon/matrix/replicated_table.hpp>
#include <karyon/matrix/table.hpp>
#include <karyon/organelle/organelle.hpp>
#include <karyon/sched/options.hpp>
#include <karyon/supervise/ordered_supervisor.hpp>
#include <karyon/supervise/partitioned_supervisor.hpp>
#include <karyon/supervise/supervisor.hpp>
#include <karyon/supervise/supervisor_report.hpp>
