/*
 * context_predict.h: what is expected of the next symbols, from those that are known. Encoder and decoder walk the
 * volume alike: row by row, position by position, at each position group by group of eight channels in coding order.
 *
 *     per row context_row
 *         per position context_position
 *             per group context_group, context_tell for each symbol that is not zero, context_group_end
 *         context_position_end
 *
 * Most symbols are zero, and cost nothing in either layer: the walk keeps lists of the others, one for each row. The
 * weights of a place and sign stand side by side for all columns that a neighbour may be in, so that the symbols of
 * neighbours in one row are a single part of its list: a term's number there is that of its weights for the first
 * column, plus its own column, and the position that looks takes its column off.
 */
#ifndef EDGECOMP_CONTEXT_PREDICT_H
#define EDGECOMP_CONTEXT_PREDICT_H

#include "context_internal.h"
#include "range_coder.h"

/* Positions for which the rows above are added up at once: few enough that their sums stay in the nearest cache. */
#define CONTEXT_BATCH 32u

/* The symbols of a row that are not zero, one position after another. `reach` positions more on each side of the
 * volume have none. */
struct context_row {
    size_t *ends;               /* [reach + columns + reach + 1]: how many stand before each position */
    struct context_term *terms; /* [columns * channels] of the first layer */
    int16_t *values;            /* [reach + columns + reach][groups * 8] by place: symbol - zero, zeros too */
};

/* The walk's memory, all of it in the caller's workspace. */
struct context_walk {
    const struct context_model *model;
    const struct context_kernels *kernels;
    size_t columns; /* of the volume */
    size_t y, x;
    struct context_row rows[CONTEXT_MAX_REACH + 1]; /* this row, the one above, ... */
    int32_t *sums0;               /* [CONTEXT_BATCH][width]: the part of the rows above */
    int32_t *linear;              /* [CONTEXT_BATCH][groups * 8] what neighbours add to the means, by place */
    int32_t *sums, *sums1;        /* [width], [hidden] */
    int32_t *outputs;             /* [16] of a group */
    int16_t *active0, *active1;   /* [width], [hidden] */
    uint8_t *symbols;             /* [columns][channels] of the row, by place; the caller's */
    size_t count, group_start;    /* symbols of this row that are not zero, and where this group's begin */
    struct context_term group_terms[CONTEXT_GROUP]; /* of the second layer */
    struct context_group group;
};

/* Bytes of workspace for a volume so wide; any alignment. Returns 0 where that is no size_t. */
size_t edgecomp_context_walk_size(const struct context_model *m, size_t columns);
void edgecomp_context_walk_start(struct context_walk *w, const struct context_model *m,
                                 const struct context_kernels *kernels, size_t columns, uint8_t *workspace);
void edgecomp_context_row(struct context_walk *w, size_t y);
void edgecomp_context_position(struct context_walk *w, size_t x);
void edgecomp_context_group(struct context_walk *w, size_t group);
void edgecomp_context_group_end(struct context_walk *w);
void edgecomp_context_position_end(struct context_walk *w);

/* Tells a symbol that is not zero, as symbol - zero. */
static inline void context_tell(struct context_walk *w, size_t place, int value)
{
    const struct context_model *m = w->model;
    const size_t number = 2 * place + (value < 0), column = w->x + m->reach;
    const int16_t feature = m->feature[place * 256 + (unsigned)(value < 0 ? -value : value)];
    const struct context_term term = {(uint16_t)(number * m->span + column), feature};
    const struct context_term group_term = {(uint16_t)number, feature};

    w->group_terms[w->count - w->group_start] = group_term;
    w->rows->terms[w->count++] = term;
    w->rows->values[column * m->groups * CONTEXT_GROUP + place] = (int16_t)value;
}

/*
 * The sum of the frequencies of all symbols below one, 0 .. levels: the cumulative logistic function at the lower edge
 * of the symbol, by its entry in the table, and one for each symbol below, so that no symbol is impossible. Strictly
 * increasing.
 */
static inline uint32_t context_frequencies(const struct context_model *m, uint32_t entry, unsigned symbol)
{
    if (symbol == 0) {
        return 0;
    }
    return symbol < m->levels ? m->table[entry] + symbol : PROBABILITY_ONE;
}

/* The same for any symbol of one of a group's places. */
static inline uint32_t context_cumulative(const struct context_walk *w, size_t i, unsigned symbol)
{
    const struct context_model *m = w->model;
    const int32_t half = 1 << (CONTEXT_MEAN_BITS - 1);
    const int32_t edge = (2 * ((int32_t)symbol - (int32_t)m->zero) - 1) * half - w->group.mean[i];

    return context_frequencies(m, context_entry(edge, w->group.inverse[i]), symbol);
}

/* The same for the zero symbol, and for the one after it. */
static inline uint32_t context_below_zero(const struct context_walk *w, size_t i)
{
    return context_frequencies(w->model, w->group.low[i], w->model->zero);
}

static inline uint32_t context_with_zero(const struct context_walk *w, size_t i)
{
    return context_frequencies(w->model, w->group.high[i], w->model->zero + 1);
}

#endif
