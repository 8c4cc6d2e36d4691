#pragma once

// Every room is compiled with hidden visibility, so that a shared library exports what is marked here and nothing else.
//
// KARYON_API goes on each public class and function that is not a template and not wholly inline, and also on a private
// one that another room calls: with shared libraries a room reaches only what the room to its left exports.
#if defined(__GNUC__) || defined(__clang__)
#define KARYON_API __attribute__((visibility("default")))
#else
#define KARYON_API
#endif
