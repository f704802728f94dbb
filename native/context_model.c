/* context_model.c: reads the parameters of a context model, proves that nothing in them can overflow, and lays them out
 * for the kernels. docs/format-context.md, section 2, is the file. */
#include "context_internal.h"

#include <string.h>

#define HEADER_BYTES 20u
#define VERSION 1u
#define SUM_LIMIT (1ll << 30) /* of any sum; a sum of two such still fits into 32 bits */
#define INVERSE_LIMIT (1u << 24)

static const uint8_t magic[4] = {'E', 'C', 'C', 'P'};

enum part {
    PART_ORDER,
    PART_MEAN_SHIFT,
    PART_FEATURE,
    PART_BIAS0,
    PART_ROWS,
    PART_LINEAR,
    PART_BIAS1,
    PART_DENSE,
    PART_WITHIN,
    PART_OUT_BIAS,
    PART_OUT,
    PART_INVERSE,
    PART_TABLE,
    PARTS
};

struct layout {
    size_t count[PARTS]; /* elements */
    size_t bytes[PARTS]; /* of an element */
    size_t offset[PARTS]; /* in the prepared buffer, aligned */
    size_t file_size, prepared_size;
};

/* The sizes that a header says; 0 if it is none, or of another version or beyond the limits. */
static int read_header(const uint8_t *h, size_t len, struct context_model *m)
{
    if (len < HEADER_BYTES || memcmp(h, magic, 4) != 0 || h[4] != VERSION) {
        return 0;
    }
    m->reach = h[5];
    m->shift0 = h[6];
    m->shift1 = h[7];
    m->scale_shift = h[8];
    m->zero = h[9];
    m->channels = h[10] + 256u * h[11];
    m->levels = h[12] + 256u * h[13];
    m->width = h[14] + 256u * h[15];
    m->hidden = h[16] + 256u * h[17];
    m->span = 2 * m->reach + 1;
    m->taps = 2 * m->reach * (m->reach + 1);
    m->groups = (m->channels + CONTEXT_GROUP - 1) / CONTEXT_GROUP;
    return m->reach >= 1 && m->reach <= CONTEXT_MAX_REACH && m->shift0 < 31 && m->shift1 < 31 &&
           m->scale_shift < 31 && m->channels >= 1 && m->channels <= CONTEXT_MAX_CHANNELS &&
           m->levels >= EDGECOMP_MIN_LEVELS && m->levels <= EDGECOMP_MAX_LEVELS && m->zero < m->levels &&
           m->width >= CONTEXT_BLOCK && m->width <= CONTEXT_MAX_WIDTH && m->width % CONTEXT_BLOCK == 0 &&
           m->hidden >= CONTEXT_BLOCK && m->hidden <= CONTEXT_MAX_WIDTH && m->hidden % CONTEXT_BLOCK == 0 &&
           h[18] == 0 && h[19] == 0;
}

static void lay_out(const struct context_model *m, struct layout *l)
{
    const size_t channels = m->channels, width = m->width, hidden = m->hidden, groups = m->groups, taps = m->taps;
    const size_t count[PARTS] = {
        channels,          groups * CONTEXT_GROUP,      channels * 256,
        width,             taps * channels * 2 * width, taps * channels,
        hidden,            width * hidden,              channels * 2 * hidden,
        groups * 2 * CONTEXT_GROUP, groups * hidden * 2 * CONTEXT_GROUP, CONTEXT_SCALES,
        CONTEXT_TABLE,
    };
    const size_t bytes[PARTS] = {1, 1, 2, 4, 2, 4, 4, 2, 2, 4, 2, 4, 4};
    /* A place in each of `reach` + 1 rows of `span` columns, whether it is a neighbour or not. */
    const size_t rows = (m->reach + 1) * channels * 2 * m->span * width;
    const size_t linear = taps * groups * CONTEXT_GROUP;
    size_t at = EDGECOMP_CONTEXT_ALIGNMENT, i;

    l->file_size = HEADER_BYTES;
    for (i = 0; i < PARTS; i++) {
        l->count[i] = count[i];
        l->bytes[i] = bytes[i];
        l->offset[i] = at;
        l->file_size += count[i] * bytes[i];
        at += context_aligned((i == PART_ROWS ? rows : i == PART_LINEAR ? linear : count[i]) * bytes[i]);
    }
    l->prepared_size = at;
}

static void point(struct context_model *m, const struct layout *l, const uint8_t *base)
{
    const void *p[PARTS];
    size_t i;

    for (i = 0; i < PARTS; i++) {
        p[i] = base + l->offset[i];
    }
    m->order = p[PART_ORDER];
    m->mean_shift = p[PART_MEAN_SHIFT];
    m->feature = p[PART_FEATURE];
    m->bias0 = p[PART_BIAS0];
    m->rows = p[PART_ROWS];
    m->linear = p[PART_LINEAR];
    m->bias1 = p[PART_BIAS1];
    m->dense = p[PART_DENSE];
    m->within = p[PART_WITHIN];
    m->out_bias = p[PART_OUT_BIAS];
    m->out = p[PART_OUT];
    m->inverse = p[PART_INVERSE];
    m->table = p[PART_TABLE];
}

/* The weights of a tap's first place and sign. */
static const int16_t *context_rows(const struct context_model *m, size_t tap)
{
    const size_t above = m->reach - tap / m->span; /* rows */

    return m->rows + (above * m->channels * 2 * m->span + tap % m->span) * m->width;
}

/* Little-endian numbers to numbers of this machine. */
static void read_numbers(uint8_t *to, const uint8_t *from, size_t count, size_t bytes)
{
    size_t i;

    for (i = 0; i < count; i++, from += bytes) {
        if (bytes == 1) {
            to[i] = from[0];
        } else if (bytes == 2) {
            const uint16_t value = (uint16_t)(from[0] | from[1] << 8);

            memcpy(to + 2 * i, &value, 2);
        } else {
            const uint32_t value = from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;

            memcpy(to + 4 * i, &value, 4);
        }
    }
}

/* The first layer's weights, by tap, place and sign in the file, to their places. */
static void spread_rows(const struct context_model *m, uint8_t *to, const uint8_t *from)
{
    size_t t, i;

    for (t = 0; t < m->taps; t++) {
        const size_t above = m->reach - t / m->span;
        uint8_t *at = to + 2 * (above * m->channels * 2 * m->span + t % m->span) * m->width;

        for (i = 0; i < 2 * m->channels; i++, at += 2 * m->span * m->width, from += 2 * m->width) {
            read_numbers(at, from, m->width, 2);
        }
    }
}

/* The linear weights, by tap and channel in the file, to whole groups. */
static void spread_linear(const struct context_model *m, uint8_t *to, const uint8_t *from)
{
    size_t t;

    for (t = 0; t < m->taps; t++, to += 4 * m->groups * CONTEXT_GROUP, from += 4 * m->channels) {
        read_numbers(to, from, m->channels, 4);
    }
}

static int64_t magnitude64(int64_t value)
{
    return value < 0 ? -value : value;
}

/* The most that the symbols of one position add to an output, by its weight in the first of rows [channels][2], each
 * `step` weights after the one before. */
static int64_t most_of_symbols(const struct context_model *m, const int16_t *weight, size_t step,
                               const int64_t *largest)
{
    int64_t sum = 0;
    size_t c;

    for (c = 0; c < m->channels; c++, weight += 2 * step) {
        const int64_t a = magnitude64(weight[0]), b = magnitude64(weight[step]);

        sum += largest[c] * (a > b ? a : b);
    }
    return sum;
}

/* The most that activations add to output j, by weights [inputs / 2][outputs][2]. */
static int64_t most_of_activations(const int16_t *weights, size_t inputs, size_t outputs, size_t j)
{
    int64_t sum = 0;
    size_t k;

    for (k = 0; k < inputs; k++) {
        sum += CONTEXT_ACTIVATION * magnitude64(weights[(k / 2 * outputs + j) * 2 + k % 2]);
    }
    return sum;
}

/* The largest feature of each place; features begin at 0 and are not negative. */
static int largest_features(const struct context_model *m, int64_t *largest)
{
    size_t c, i;

    for (c = 0; c < m->channels; c++) {
        const int16_t *f = m->feature + c * 256;

        if (f[0] != 0) {
            return 0;
        }
        largest[c] = 0;
        for (i = 1; i < 256; i++) {
            if (f[i] < 0) {
                return 0;
            }
            largest[c] = f[i] > largest[c] ? f[i] : largest[c];
        }
    }
    return 1;
}

static int first_layer_fits(const struct context_model *m, const int64_t *largest)
{
    size_t j, t;

    for (j = 0; j < m->width; j++) {
        int64_t sum = magnitude64(m->bias0[j]);

        for (t = 0; t < m->taps; t++) {
            sum += most_of_symbols(m, context_rows(m, t) + j, m->span * m->width, largest);
        }
        if (sum > SUM_LIMIT) {
            return 0;
        }
    }
    return 1;
}

static int second_layer_fits(const struct context_model *m, const int64_t *largest)
{
    size_t j;

    for (j = 0; j < m->hidden; j++) {
        const int64_t sum = magnitude64(m->bias1[j]) + most_of_activations(m->dense, m->width, m->hidden, j) +
                            most_of_symbols(m, m->within + j, m->hidden, largest);

        if (sum > SUM_LIMIT) {
            return 0;
        }
    }
    return 1;
}

static int outputs_fit(const struct context_model *m)
{
    const size_t outputs = 2 * CONTEXT_GROUP;
    size_t g, j, t;

    for (g = 0; g < m->groups; g++) {
        for (j = 0; j < outputs; j++) {
            const int16_t *w = m->out + g * m->hidden * outputs;
            const size_t place = g * CONTEXT_GROUP + j;
            int64_t sum = magnitude64(m->out_bias[g * outputs + j]) + most_of_activations(w, m->hidden, outputs, j);

            for (t = 0; j < CONTEXT_GROUP && place < m->channels && t < m->taps; t++) {
                sum += 255 * magnitude64(m->linear[t * m->groups * CONTEXT_GROUP + place]);
            }
            if (sum > SUM_LIMIT) {
                return 0;
            }
        }
    }
    return 1;
}

/* Every channel once; shifts; inverse scales; a cumulative table that does not fall and leaves every symbol its one. */
static int tables_fit(const struct context_model *m)
{
    uint8_t seen[CONTEXT_MAX_CHANNELS] = {0};
    size_t i;

    for (i = 0; i < m->channels; i++) {
        if (m->order[i] >= m->channels || seen[m->order[i]]) {
            return 0;
        }
        seen[m->order[i]] = 1;
    }
    for (i = 0; i < (size_t)m->groups * CONTEXT_GROUP; i++) {
        if (m->mean_shift[i] >= 31) {
            return 0;
        }
    }
    for (i = 0; i < CONTEXT_SCALES; i++) {
        if (m->inverse[i] == 0 || m->inverse[i] > INVERSE_LIMIT) {
            return 0;
        }
    }
    for (i = 0; i < CONTEXT_TABLE; i++) {
        if ((i > 0 && m->table[i] < m->table[i - 1]) || m->table[i] > (1u << 24) - m->levels) {
            return 0;
        }
    }
    return 1;
}

int edgecomp_context_prepared_size(const uint8_t *parameters, size_t parameters_len, size_t *size)
{
    struct context_model m;
    struct layout l;

    if (size == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *size = 0;
    if (parameters == NULL || !read_header(parameters, parameters_len, &m)) {
        return EDGECOMP_CORRUPT_DATA;
    }
    lay_out(&m, &l);
    if (parameters_len != l.file_size) {
        return EDGECOMP_CORRUPT_DATA;
    }
    *size = l.prepared_size;
    return EDGECOMP_OK;
}

int edgecomp_context_prepare(const uint8_t *parameters, size_t parameters_len, uint8_t *prepared, size_t prepared_cap)
{
    int64_t largest[CONTEXT_MAX_CHANNELS];
    struct context_model m;
    struct layout l;
    uint8_t *to = prepared;
    size_t size, i;
    const int status = edgecomp_context_prepared_size(parameters, parameters_len, &size);

    if (status != EDGECOMP_OK) {
        return status;
    }
    if (prepared == NULL || (uintptr_t)prepared % EDGECOMP_CONTEXT_ALIGNMENT != 0) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    if (prepared_cap < size) {
        return EDGECOMP_OUTPUT_TOO_SMALL;
    }
    read_header(parameters, parameters_len, &m);
    lay_out(&m, &l);
    memset(to, 0, size);
    memcpy(to, parameters, HEADER_BYTES);
    parameters += HEADER_BYTES;
    for (i = 0; i < PARTS; i++) {
        if (i == PART_ROWS) {
            spread_rows(&m, to + l.offset[i], parameters);
        } else if (i == PART_LINEAR) {
            spread_linear(&m, to + l.offset[i], parameters);
        } else {
            read_numbers(to + l.offset[i], parameters, l.count[i], l.bytes[i]);
        }
        parameters += l.count[i] * l.bytes[i];
    }
    point(&m, &l, to);
    if (!tables_fit(&m) || !largest_features(&m, largest) || !first_layer_fits(&m, largest) ||
        !second_layer_fits(&m, largest) || !outputs_fit(&m)) {
        return EDGECOMP_CORRUPT_DATA;
    }
    return EDGECOMP_OK;
}

int edgecomp_context_open(const uint8_t *prepared, size_t prepared_len, struct context_model *model)
{
    struct layout l;

    if (prepared == NULL || (uintptr_t)prepared % EDGECOMP_CONTEXT_ALIGNMENT != 0 ||
        !read_header(prepared, prepared_len, model)) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    lay_out(model, &l);
    if (prepared_len < l.prepared_size) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    point(model, &l, prepared);
    return EDGECOMP_OK;
}

int edgecomp_context_describe(const uint8_t *prepared, size_t prepared_len, unsigned *channels, unsigned *levels,
                              unsigned *zero)
{
    struct context_model m;
    const int status = edgecomp_context_open(prepared, prepared_len, &m);

    if (status != EDGECOMP_OK || channels == NULL || levels == NULL || zero == NULL) {
        return EDGECOMP_BAD_ARGUMENT;
    }
    *channels = m.channels;
    *levels = m.levels;
    *zero = m.zero;
    return EDGECOMP_OK;
}
