// Denormals as zeros, operands and results, for as long as a bfloat16 product runs (reproducibility.md 2 and 7).

#if defined(__x86_64__)

typedef unsigned flush_state;

CK_INLINE flush_state flush_begin(void) {
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // FTZ and DAZ
    return before;
}

/// Restores what was; x86 judges smallness after rounding, as the definition does: never in doubt.
CK_INLINE bool flush_end(flush_state before) {
    _mm_setcsr(before);
    return false;
}

#elif defined(__aarch64__)

enum { FLUSH_FPCR_FZ = 1 << 24, FLUSH_FPSR_UFC = 1 << 3 };

typedef struct {
    uint64_t control, status;
} flush_state;

CK_INLINE flush_state flush_begin(void) {
    flush_state before;
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(before.control), "=r"(before.status) : : "memory");
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1"
                     :
                     : "r"(before.control | FLUSH_FPCR_FZ), "r"(before.status & ~(uint64_t)FLUSH_FPSR_UFC)
                     : "memory");
    return before;
}

/// Restores what was. True where a result was flushed (then, and only then, FZ sets UFC): ARM judges smallness before
/// rounding, so what lies in 2⁻¹²⁶ − 2⁻¹⁵¹ ..< 2⁻¹²⁶ became a zero here and is 2⁻¹²⁶ by the definition. Weights and activations
/// of models hardly ever come near, so those tiles may be slow.
CK_INLINE bool flush_end(flush_state before) {
    uint64_t status;
    __asm__ volatile("mrs %0, fpsr" : "=r"(status) : : "memory");
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(before.control), "r"(status | before.status) : "memory");
    return (status & FLUSH_FPSR_UFC) != 0;
}

#endif
