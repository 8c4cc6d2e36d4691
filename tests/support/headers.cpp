// SPDX-License-Identifier: Apache-2.0
//
// Nothing but a reason to compile the headers that cmake/KaryonTest.cmake lists: a precompiled header belongs to a target.
