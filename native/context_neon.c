/* context_neon.c: the kernels with NEON, which every 64-bit ARM processor has. */
#include "context_internal.h"

#if (defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)) || defined(_M_ARM64)

#include <arm_neon.h>

/* Thirty-two outputs at a time stay in registers while all entries pass. */
static void add_rows(int32_t *sums, const int32_t *start, size_t width, const int16_t *rows,
                     const struct context_term *terms, size_t count, unsigned origin)
{
    size_t i, j, b;

    for (j = 0; j < width; j += CONTEXT_BLOCK) {
        int32x4_t s[8];

        for (b = 0; b < 8; b++) {
            s[b] = vld1q_s32(start + j + 4 * b);
        }
        for (i = 0; i < count; i++) {
            const int16_t *row = rows + (uint16_t)(terms[i].number - origin) * width + j;
            const int16_t feature = terms[i].feature;

            for (b = 0; b < 4; b++) {
                const int16x8_t w = vld1q_s16(row + 8 * b);

                s[2 * b] = vmlal_n_s16(s[2 * b], vget_low_s16(w), feature);
                s[2 * b + 1] = vmlal_high_n_s16(s[2 * b + 1], w, feature);
            }
        }
        for (b = 0; b < 8; b++) {
            vst1q_s32(sums + j + 4 * b, s[b]);
        }
    }
}

/* Sixteen outputs at a time; loading two vectors at once takes the pairs of weights apart. */
static void multiply(int32_t *sums, size_t outputs, const int16_t *activations, size_t inputs, const int16_t *weights,
                     const int32_t *bias)
{
    size_t j, k, b;

    for (j = 0; j < outputs; j += 16) {
        int32x4_t s[4];

        for (b = 0; b < 4; b++) {
            s[b] = vld1q_s32(bias + j + 4 * b);
        }
        for (k = 0; k < inputs; k += 2) {
            const int16_t *w = weights + k * outputs + 2 * j;

            for (b = 0; b < 2; b++) {
                const int16x8x2_t pairs = vld2q_s16(w + 16 * b);

                s[2 * b] = vmlal_n_s16(s[2 * b], vget_low_s16(pairs.val[0]), activations[k]);
                s[2 * b + 1] = vmlal_high_n_s16(s[2 * b + 1], pairs.val[0], activations[k]);
                s[2 * b] = vmlal_n_s16(s[2 * b], vget_low_s16(pairs.val[1]), activations[k + 1]);
                s[2 * b + 1] = vmlal_high_n_s16(s[2 * b + 1], pairs.val[1], activations[k + 1]);
            }
        }
        for (b = 0; b < 4; b++) {
            vst1q_s32(sums + j + 4 * b, s[b]);
        }
    }
}

static void activate(int16_t *activations, const int32_t *sums, size_t width, unsigned shift)
{
    const int32x4_t zero = vdupq_n_s32(0), most = vdupq_n_s32(CONTEXT_ACTIVATION), right = vdupq_n_s32(-(int32_t)shift);
    size_t j;

    for (j = 0; j < width; j += 4) {
        const int32x4_t value = vshlq_s32(vmaxq_s32(vld1q_s32(sums + j), zero), right);

        vst1_s16(activations + j, vmovn_s32(vminq_s32(value, most)));
    }
}

static void add_linear(int32_t *sums, size_t places, const int32_t *linear, const int16_t *values, size_t neighbours)
{
    size_t n, j;

    for (j = 0; j < places; j += 8) {
        int32x4_t first = vld1q_s32(sums + j), last = vld1q_s32(sums + j + 4);

        for (n = 0; n < neighbours; n++) {
            const int32_t *l = linear + n * places + j;
            const int16x8_t v = vld1q_s16(values + n * places + j);

            first = vmlaq_s32(first, vld1q_s32(l), vmovl_s16(vget_low_s16(v)));
            last = vmlaq_s32(last, vld1q_s32(l + 4), vmovl_high_s16(v));
        }
        vst1q_s32(sums + j, first);
        vst1q_s32(sums + j + 4, last);
    }
}

static const struct context_kernels neon = {add_rows, multiply, activate, add_linear, NULL};

const struct context_kernels *edgecomp_context_kernels_neon(void)
{
    return &neon;
}

#else

const struct context_kernels *edgecomp_context_kernels_neon(void)
{
    return NULL;
}

#endif
