/*
 * dense.c: base-L digits. k symbols make one byte, where k is the largest number with L^k <= 256: eight of 2 values,
 * five of 3, four of 4, three of 5 or 6 (2.67 bits a symbol), two of up to 16, else one. The first symbol is the
 * least significant digit; digits that are missing at the end are 0. Symbols come channel by channel, row by row,
 * without those that the importance map leaves out: position by position, LZMA makes them 14 % larger (figures in
 * sorted_model.h; that layout is what latents get; digits are for volumes that are not sparse, and for small ones).
 */
#include "pack_internal.h"

static unsigned digits_per_byte(unsigned levels)
{
    unsigned k = 1, power = levels;

    while (power * levels <= 256) {
        power *= levels;
        k++;
    }
    return k;
}

size_t edgecomp_dense_size(size_t symbols, unsigned levels)
{
    const unsigned k = digits_per_byte(levels);

    return symbols / k + (symbols % k != 0);
}

void edgecomp_dense_pack(const struct edgecomp_volume *v, const uint8_t *symbols, uint8_t *out)
{
    const size_t plane = v->height * v->width;
    const unsigned k = digits_per_byte(v->levels);
    unsigned filled = 0, byte = 0, weight = 1;
    size_t c, i;

    for (c = 0; plane != 0 && c < v->channels; c++) {
        for (i = 0; i < plane; i++) {
            if (c >= edgecomp_coded_channels(v, i)) {
                continue;
            }
            byte += weight * symbols[c * plane + i];
            weight *= v->levels;
            if (++filled == k) {
                *out++ = (uint8_t)byte;
                filled = 0;
                byte = 0;
                weight = 1;
            }
        }
    }
    if (filled != 0) {
        *out = (uint8_t)byte;
    }
}

int edgecomp_dense_unpack(const struct edgecomp_volume *v, const uint8_t *in, size_t in_len, uint8_t *symbols)
{
    const size_t plane = v->height * v->width;
    const unsigned k = digits_per_byte(v->levels);
    unsigned left = 0, byte = 0;
    size_t used = 0, c, i;

    for (c = 0; plane != 0 && c < v->channels; c++) {
        for (i = 0; i < plane; i++) {
            if (c >= edgecomp_coded_channels(v, i)) {
                continue;
            }
            if (left == 0) {
                /* What is left of the byte before is above its last digit: the byte was not below L^k. */
                if (byte != 0 || used == in_len) {
                    return EDGECOMP_CORRUPT_DATA;
                }
                byte = in[used++];
                left = k;
            }
            symbols[c * plane + i] = (uint8_t)(byte % v->levels);
            byte /= v->levels;
            left--;
        }
    }
    return byte == 0 && used == in_len ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
}
