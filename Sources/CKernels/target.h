// `CK_TARGET_BEGIN` opens the functions of a file for what plain C needs: on x86 the fused multiply-add instruction
// (without it fma is a library call, forty times slower); elsewhere it is in the base architecture.
#if defined(__x86_64__)
#define CK_TARGET_BEGIN _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
#define CK_TARGET_END _Pragma("clang attribute pop")
#else
#define CK_TARGET_BEGIN
#define CK_TARGET_END
#endif
