/* context_kernels.c: the kernels in plain C, and the choice between those that there are. */
#include "context_internal.h"

static void add_rows(int32_t *sums, size_t width, const int16_t *rows, const struct context_entry *entries,
                     size_t count)
{
    size_t i, j;

    for (i = 0; i < count; i++) {
        const int16_t *row = rows + entries[i].row * width;
        const int32_t feature = entries[i].feature;

        for (j = 0; j < width; j++) {
            sums[j] += feature * row[j];
        }
    }
}

static void multiply(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs, const int16_t *weights,
                     const int32_t *bias)
{
    size_t j, k;

    for (j = 0; j < outputs; j++) {
        sums[j] = bias[j];
    }
    for (k = 0; k < inputs; k += 2) {
        const int32_t first = activations[k], second = activations[k + 1];
        const int16_t *pairs = weights + k * outputs;

        if ((first | second) == 0) {
            continue;
        }
        for (j = 0; j < outputs; j++) {
            sums[j] += first * pairs[2 * j] + second * pairs[2 * j + 1];
        }
    }
}

static void activate(int16_t *activations, const int32_t *sums, size_t width, unsigned shift)
{
    size_t j;

    for (j = 0; j < width; j++) {
        const int32_t value = (sums[j] > 0 ? sums[j] : 0) >> shift;

        activations[j] = (int16_t)(value < CONTEXT_ACTIVATION ? value : CONTEXT_ACTIVATION);
    }
}

static const struct context_kernels portable = {add_rows, multiply, activate};

const struct context_kernels *edgecomp_context_kernels(int which)
{
    const struct context_kernels *kernels = NULL;

    if (which == EDGECOMP_KERNELS_AUTO || which == EDGECOMP_KERNELS_AVX2) {
        kernels = edgecomp_context_kernels_avx2();
    }
    if (kernels == NULL && (which == EDGECOMP_KERNELS_AUTO || which == EDGECOMP_KERNELS_NEON)) {
        kernels = edgecomp_context_kernels_neon();
    }
    if (kernels == NULL && (which == EDGECOMP_KERNELS_AUTO || which == EDGECOMP_KERNELS_PORTABLE)) {
        kernels = &portable;
    }
    return kernels;
}
