// CMake includes this ahead of every C++ file. GCC 12 gave std::condition_variable::wait a new symbol version, for
// nothing but its exception specification; that of GCC 4.4 is still in every libstdc++. With it, a binary that GCC 12
// made loads where libstdc++ is that of GCC 11: Red Hat Enterprise Linux 9, Amazon Linux 2023. lib/platforms.ts has the
// versions.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && defined(__linux__)
__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE,"
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
#endif
