/* context_kernels.c: the kernels in plain C, and the choice between those that there are. */
#include "context_internal.h"

static void add_rows(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                     const struct context_term *terms, size_t count, unsigned origin)
{
    size_t i, j;

    for (j = 0; j < width; j++) {
        sums[j] = start[j];
    }
    for (i = 0; i < count; i++) {
        const int16_t *row = rows + (uint16_t)(terms[i].number - origin) * width;
        const int32_t feature = terms[i].feature;

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

static void add_linear(int32_t *sums, size_t places, const int32_t *linear, const int16_t *values, size_t neighbours)
{
    size_t n, j;

    for (n = 0; n < neighbours; n++, linear += places, values += places) {
        for (j = 0; j < places; j++) {
            sums[j] += linear[j] * values[j];
        }
    }
}

static const struct context_kernels portable = {add_rows, multiply, activate, add_linear, NULL};

const struct context_kernels *edgecomp_context_kernels(int which)
{
    const struct context_kernels *kernels = NULL;

    if (which == EDGECOMP_KERNELS_AUTO || which == EDGECOMP_KERNELS_AVX512) {
        kernels = edgecomp_context_kernels_avx512();
    }
    if (kernels == NULL && (which == EDGECOMP_KERNELS_AUTO || which == EDGECOMP_KERNELS_AVX2)) {
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
