/* map.c: an importance map as differences to a prediction, and back. */
#include "pack_internal.h"

/* The median edge detector: min or max of left and upper at an edge, else the plane through the three. */
static unsigned predict(const uint8_t *plane, size_t width, size_t y, size_t x)
{
    const uint8_t *p = plane + y * width + x;
    unsigned left, upper, corner, low, high;

    if (y == 0) {
        return x == 0 ? 0 : p[-1];
    }
    upper = *(p - width);
    if (x == 0) {
        return upper;
    }
    left = p[-1];
    corner = *(p - width - 1);
    low = left < upper ? left : upper;
    high = left < upper ? upper : left;
    if (corner >= high) {
        return low;
    }
    return corner <= low ? high : left + upper - corner;
}

static int check_map(const uint8_t *in, size_t height, size_t width, unsigned levels, const uint8_t *out)
{
    size_t i;

    if (levels < EDGECOMP_MIN_LEVELS || levels > EDGECOMP_MAX_LEVELS) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (height == 0 || width == 0) {
        return EDGECOMP_OK;
    }
    if (height > EDGECOMP_MAX_SYMBOLS || width > EDGECOMP_MAX_SYMBOLS / height) {
        return EDGECOMP_LIMIT_EXCEEDED;
    }
    if (in == NULL || out == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    for (i = 0; i < height * width; i++) {
        if (in[i] >= levels) {
            return EDGECOMP_BAD_ARGUMENT;
        }
    }
    return EDGECOMP_OK;
}

int edgecomp_map_residual(const uint8_t *in, size_t height, size_t width, unsigned levels, uint8_t *out)
{
    const int status = check_map(in, height, width, levels, out);
    size_t y, x;

    if (status != EDGECOMP_OK) {
        return status;
    }
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            const unsigned value = in[y * width + x] + levels + levels / 2 - predict(in, width, y, x);

            out[y * width + x] = (uint8_t)(value % levels);
        }
    }
    return EDGECOMP_OK;
}

int edgecomp_map_restore(const uint8_t *in, size_t height, size_t width, unsigned levels, uint8_t *out)
{
    const int status = check_map(in, height, width, levels, out);
    size_t y, x;

    if (status != EDGECOMP_OK) {
        return status;
    }
    for (y = 0; y < height; y++) {
        for (x = 0; x < width; x++) {
            const unsigned value = in[y * width + x] + levels - levels / 2 + predict(out, width, y, x);

            out[y * width + x] = (uint8_t)(value % levels);
        }
    }
    return EDGECOMP_OK;
}
