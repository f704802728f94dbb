/* context_code.c: symbol volumes to bytes and back, by the context model and the range coder. */
#include "context_choice.h"
#include "context_predict.h"
#include "pack_internal.h"

#include <string.h>

/* Checks what does not depend on the symbols, and opens the model. *symbols: how many there are. */
static int check(const uint8_t *prepared, size_t prepared_len, size_t height, size_t width, const uint8_t *counts,
                 int kernels, struct context_model *m, size_t *symbols)
{
    struct edgecomp_volume v;
    size_t coded;
    const int status = edgecomp_context_open(prepared, prepared_len, m);

    *symbols = 0;
    if (status != EDGECOMP_OK) {
        return status;
    }
    if (edgecomp_context_kernels(kernels) == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    v.channels = m->channels;
    v.height = height;
    v.width = width;
    v.levels = m->levels;
    v.zero = m->zero;
    v.counts = counts;
    return edgecomp_check_volume(&v, symbols, &coded);
}

static int workspace_fits(const struct context_model *m, size_t symbols, size_t width, const uint8_t *workspace,
                          size_t length)
{
    const size_t size = edgecomp_context_walk_size(m, width);

    return symbols == 0 || (size != 0 && workspace != NULL && length >= size);
}

/* Channels of a volume's row to positions, by place in the coding order, or back. */
static void gather(const struct context_walk *w, const uint8_t *symbols, size_t plane, size_t y)
{
    const size_t channels = w->model->channels;
    size_t place, x;

    for (place = 0; place < channels; place++) {
        const uint8_t *row = symbols + w->model->order[place] * plane + y * w->columns;

        for (x = 0; x < w->columns; x++) {
            w->symbols[x * channels + place] = row[x];
        }
    }
}

static size_t group_channels(const struct context_model *m, size_t group)
{
    const size_t left = m->channels - group * CONTEXT_GROUP;

    return left < CONTEXT_GROUP ? left : CONTEXT_GROUP;
}

/* What an encoder may change: see edgecomp_context_encode_chosen. */
struct choice {
    const int8_t *fractions; /* of the volume, or NULL */
    size_t plane;            /* positions of the volume */
    uint32_t threshold;
    uint8_t *chosen; /* receives the symbols that were coded */
    size_t chosen_cap;
};

/* Where in the volume the symbol of a place at the walk's position is. */
static size_t at_place(const struct context_walk *w, size_t plane, size_t place)
{
    return w->model->order[place] * plane + w->y * w->columns + w->x;
}

/*
 * Whether zero is chosen instead of a symbol of this value, by the frequencies of both; says so in `chosen`. Only one
 * and minus one may become zero. The squared error of the latent grows by 1 + 2 v f, v the value and f the latent less
 * v; f comes in 256ths, so 128 (1 + 2 v f) = 128 + v f.
 */
static int becomes_zero(const struct context_walk *w, const struct choice *c, size_t place, int value, uint32_t zero,
                        uint32_t frequency)
{
    const size_t at = at_place(w, c->plane, place);
    int32_t loss = 128;

    if (value != 1 && value != -1) {
        return 0;
    }
    if (c->fractions != NULL) {
        loss += value * c->fractions[at];
    }
    if (!choice_saves(zero, frequency, c->threshold, loss)) {
        return 0;
    }
    c->chosen[at] = (uint8_t)w->model->zero;
    return 1;
}

/* Encodes a position, with a choice or without (NULL); returns whether all symbols were allowed. */
static int encode_position(struct context_walk *w, struct range_encoder *rc, size_t x, size_t count,
                           const struct choice *choice)
{
    const struct context_model *m = w->model;
    const uint8_t *symbols = w->symbols + x * m->channels;
    size_t group, i;
    int allowed = 1;

    edgecomp_context_position(w, x);
    for (group = 0; group < m->groups; group++) {
        const size_t first = group * CONTEXT_GROUP, channels = group_channels(m, group);

        edgecomp_context_group(w, group);
        for (i = 0; i < channels; i++) {
            const unsigned symbol = symbols[first + i];
            uint32_t start = context_below_zero(w, i), end = context_with_zero(w, i);

            if (m->order[first + i] >= count) {
                allowed &= symbol == m->zero;
                continue;
            }
            if (symbol >= m->levels) {
                return 0;
            }
            if (symbol != m->zero) {
                const int value = (int)symbol - (int)m->zero;
                const uint32_t below = context_cumulative(w, i, symbol), with = context_cumulative(w, i, symbol + 1);

                if (choice == NULL || !becomes_zero(w, choice, first + i, value, end - start, with - below)) {
                    start = below;
                    end = with;
                    context_tell(w, first + i, value);
                }
            }
            range_encode(rc, start, end - start);
        }
        edgecomp_context_group_end(w);
    }
    edgecomp_context_position_end(w);
    return allowed;
}

/* The symbol whose interval holds the code, which is not the zero symbol: the nearest to the mean first, then in
 * growing steps, then by halves. */
static unsigned decode_symbol(const struct context_walk *w, size_t i, struct range_decoder *rc, uint64_t unit)
{
    const struct context_model *m = w->model;
    int32_t guess = (int32_t)m->zero +
                    ((w->group.mean[i] + 32768 + (1 << (CONTEXT_MEAN_BITS - 1))) >> CONTEXT_MEAN_BITS) -
                    (32768 >> CONTEXT_MEAN_BITS);
    unsigned low, high, step; /* low <= symbol < high */
    uint32_t start, end;

    if (guess == (int32_t)m->zero) {
        guess += rc->code < unit * context_below_zero(w, i) ? -1 : 1;
    }
    guess = guess < 0 ? 0 : guess >= (int32_t)m->levels ? (int32_t)m->levels - 1 : guess;
    low = (unsigned)guess;
    high = low + 1;
    start = context_cumulative(w, i, low);
    end = context_cumulative(w, i, high);
    if (rc->code < unit * start) {
        for (step = 1; rc->code < unit * start; step *= 2) {
            high = low;
            end = start;
            low = low > step ? low - step : 0;
            start = context_cumulative(w, i, low);
        }
    } else if (rc->code >= unit * end) {
        for (step = 1; rc->code >= unit * end && high < m->levels; step *= 2) {
            low = high;
            start = end;
            high = high + step < m->levels ? high + step : m->levels;
            end = context_cumulative(w, i, high);
        }
    }
    while (high - low > 1) {
        const unsigned middle = low + (high - low) / 2;
        const uint32_t at = context_cumulative(w, i, middle);

        if (rc->code < unit * at) {
            high = middle;
            end = at;
        } else {
            low = middle;
            start = at;
        }
    }
    range_decode(rc, unit, start, end - start);
    return low;
}

/* Decodes a position into a volume of zero symbols. */
static void decode_position(struct context_walk *w, struct range_decoder *rc, size_t x, size_t count, uint8_t *symbols,
                            size_t plane)
{
    const struct context_model *m = w->model;
    size_t group, i;

    edgecomp_context_position(w, x);
    for (group = 0; group < m->groups; group++) {
        const size_t first = group * CONTEXT_GROUP, channels = group_channels(m, group);

        edgecomp_context_group(w, group);
        for (i = 0; i < channels; i++) {
            const uint32_t start = context_below_zero(w, i), frequency = context_with_zero(w, i) - start;
            const uint64_t unit = range_unit(rc);

            if (m->order[first + i] >= count) {
                continue;
            }
            if (rc->code - unit * start < unit * frequency) { /* below the start it wraps to more than that */
                range_decode(rc, unit, start, frequency);
            } else {
                const unsigned symbol = decode_symbol(w, i, rc, unit);

                symbols[at_place(w, plane, first + i)] = (uint8_t)symbol;
                context_tell(w, first + i, (int)symbol - (int)m->zero);
            }
        }
        edgecomp_context_group_end(w);
    }
    edgecomp_context_position_end(w);
}

int edgecomp_context_workspace(const uint8_t *prepared, size_t prepared_len, size_t width, size_t *size)
{
    struct context_model m;

    if (size == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *size = 0;
    if (edgecomp_context_open(prepared, prepared_len, &m) != EDGECOMP_OK) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *size = edgecomp_context_walk_size(&m, width);
    return *size != 0 ? EDGECOMP_OK : EDGECOMP_LIMIT_EXCEEDED;
}

/* Both encoders; choice is NULL where nothing may be changed. */
static int encode(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols, size_t height, size_t width,
                  const uint8_t *counts, const struct choice *choice, int kernels, uint8_t *workspace,
                  size_t workspace_len, uint8_t *out, size_t out_cap, size_t *out_len)
{
    struct context_model m;
    struct context_walk w;
    struct range_encoder rc;
    size_t total, y, x;
    int status;

    if (out_len == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *out_len = 0;
    status = check(prepared, prepared_len, height, width, counts, kernels, &m, &total);
    if (status != EDGECOMP_OK || total == 0) {
        return status;
    }
    if (choice != NULL && choice->chosen == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (choice != NULL && choice->chosen_cap < total) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    if (symbols == NULL || (out == NULL && out_cap != 0) ||
        !workspace_fits(&m, total, width, workspace, workspace_len)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    edgecomp_context_walk_start(&w, &m, edgecomp_context_kernels(kernels), width, workspace);
    range_encoder_start(&rc, out, out_cap);
    if (choice != NULL) {
        memcpy(choice->chosen, symbols, total);
    }
    for (y = 0; y < height && !rc.full; y++) {
        edgecomp_context_row(&w, y);
        gather(&w, symbols, height * width, y);
        for (x = 0; x < width; x++) {
            if (!encode_position(&w, &rc, x, counts != NULL ? counts[y * width + x] : m.channels, choice)) {
                return EDGECOMP_BAD_ARGUMENT;
            }
        }
    }
    if (!range_encoder_end(&rc)) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    *out_len = rc.size;
    return EDGECOMP_OK;
}

int edgecomp_context_encode(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols, size_t height,
                            size_t width, const uint8_t *counts, int kernels, uint8_t *workspace, size_t workspace_len,
                            uint8_t *out, size_t out_cap, size_t *out_len)
{
    return encode(prepared, prepared_len, symbols, height, width, counts, NULL, kernels, workspace, workspace_len, out,
                  out_cap, out_len);
}

int edgecomp_context_encode_chosen(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols,
                                   const int8_t *fractions, size_t height, size_t width, const uint8_t *counts,
                                   uint32_t threshold, int kernels, uint8_t *workspace, size_t workspace_len,
                                   uint8_t *chosen, size_t chosen_cap, uint8_t *out, size_t out_cap, size_t *out_len)
{
    const struct choice choice = {fractions, height * width, threshold, chosen, chosen_cap};

    return encode(prepared, prepared_len, symbols, height, width, counts, &choice, kernels, workspace, workspace_len,
                  out, out_cap, out_len);
}

int edgecomp_context_decode(const uint8_t *prepared, size_t prepared_len, const uint8_t *in, size_t in_len,
                            size_t height, size_t width, const uint8_t *counts, int kernels, uint8_t *workspace,
                            size_t workspace_len, uint8_t *symbols, size_t symbols_cap)
{
    struct context_model m;
    struct context_walk w;
    struct range_decoder rc;
    size_t total, y, x;
    int status = check(prepared, prepared_len, height, width, counts, kernels, &m, &total);

    if (status != EDGECOMP_OK) {
        return status;
    }
    if ((in == NULL && in_len != 0) || (symbols == NULL && total != 0) ||
        !workspace_fits(&m, total, width, workspace, workspace_len)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (symbols_cap < total) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    if (total == 0) {
        return in_len == 0 ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
    }
    edgecomp_context_walk_start(&w, &m, edgecomp_context_kernels(kernels), width, workspace);
    range_decoder_start(&rc, in, in_len);
    memset(symbols, (int)m.zero, total);
    for (y = 0; y < height; y++) {
        edgecomp_context_row(&w, y);
        for (x = 0; x < width; x++) {
            decode_position(&w, &rc, x, counts != NULL ? counts[y * width + x] : m.channels, symbols,
                            height * width);
        }
    }
    return range_decoder_ended_well(&rc) ? EDGECOMP_OK : EDGECOMP_CORRUPT_DATA;
}
