// Prints what the golden cases give on this processor, for the builds that run under emulation: a line
// `instruction-set<TAB>name<TAB>hash` a result. Arguments: instruction sets; without any, all that the processor has.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "CKernels.h"
#include "golden_kernels.h"

static const char *const names[CK_ISA_COUNT] = {[CK_PLAIN] = "plain", [CK_AVX2] = "avx2", [CK_AVX512] = "avx512", [CK_NEON] = "neon"};

static void print(void *context, const char *name, uint64_t hash) { printf("%s\t%s\t%016" PRIx64 "\n", (const char *)context, name, hash); }

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int32_t isa = 0; isa < CK_ISA_COUNT; isa++) {
        bool wanted = count == 1 && ck_kernels_of(isa) != NULL;
        for (int i = 1; i < count; i++) wanted = wanted || strcmp(arguments[i], names[isa]) == 0;
        if (!wanted) continue;
        if (!ck_select(isa) || !golden_compute(isa, 2, print, (void *)names[isa])) {
            fprintf(stderr, "this processor has no %s\n", names[isa]);
            return 2;
        }
    }
    return 0;
}
