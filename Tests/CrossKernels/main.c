// Prints what this processor gives, for the builds that run under emulation.
//
//     golden [SET ...]                       the golden cases: a line `set<TAB>name<TAB>hash` a result; without SET all that there are
//     golden survey SET FUNCTION PIECE       a function (its number in ck_functions.h) over the floats whose bits begin with the four
//                                            of PIECE, 0 to 15: the number of ck_survey.h. Those of all pieces add up.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"
#include "ck_survey.h"
#include "golden_kernels.h"

static const char *const names[CK_ISA_COUNT] = {[CK_PLAIN] = "plain", [CK_AVX2] = "avx2", [CK_AVX512] = "avx512", [CK_NEON] = "neon"};

static void print(void *context, const char *name, uint64_t hash) { printf("%s\t%s\t%016" PRIx64 "\n", (const char *)context, name, hash); }

static int survey(const char *set, int32_t function, uint32_t piece) {
    for (int32_t isa = 0; isa < CK_ISA_COUNT; isa++) {
        if (strcmp(set, names[isa]) != 0 || ck_kernels_of(isa) == NULL) continue;
        ck_pool *pool = ck_pool_create(1, ck_kernels_of(isa));
        if (pool == NULL) break;
        printf("%016" PRIx64 "\n", ck_survey(pool, function, piece << 28, 1, UINT64_C(1) << 28));
        ck_pool_destroy(pool);
        return 0;
    }
    fprintf(stderr, "this processor has no %s\n", set);
    return 2;
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 5 && strcmp(arguments[1], "survey") == 0) return survey(arguments[2], atoi(arguments[3]), (uint32_t)atoi(arguments[4]));
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
