/*
 * edgecomp_native.h: the C library of edgecomp.
 *
 * This header is the manual. Every function is pure: it reads its arguments, writes the buffers that the caller
 * hands in, keeps no state, prints nothing, allocates nothing, and never exits. Every function may be called from
 * any number of threads at once, as long as no two of those calls write the same buffer.
 *
 * Buffers: input and output must not overlap. A pointer may be NULL only where this is said, or where the length
 * that belongs to it is 0. After any status but EDGECOMP_OK the contents of the output buffers are unspecified
 * (nothing beyond their stated sizes is ever touched) and the *_len results are 0.
 *
 * The byte layouts are normative and specified in docs/format-symbols.md: packed bytes written by this version
 * unpack in every later one. What is NOT promised: that a later version packs the same symbols into the same bytes
 * (it may choose another layout).
 *
 * The Python binding derives its declarations from this file, so it keeps to plain C declarations: comments, simple
 * "#define NAME number" lines, enums and prototypes.
 */
#ifndef EDGECOMP_NATIVE_H
#define EDGECOMP_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Alphabet sizes that a symbol volume may have: symbols are 0 .. levels - 1 in one byte each. */
#define EDGECOMP_MIN_LEVELS 2
#define EDGECOMP_MAX_LEVELS 256

/* The most symbols (channels * height * width) in one volume. It keeps every bit position in 64 bits and every
 * size in a 32-bit size_t. */
#define EDGECOMP_MAX_SYMBOLS 2147483647

/* What every function returns. The numbers are part of the interface. */
enum edgecomp_status {
    EDGECOMP_OK = 0,
    EDGECOMP_BAD_ARGUMENT = 1,     /* the caller's mistake: NULL, levels, zero, counts or symbols out of range */
    EDGECOMP_OUTPUT_TOO_SMALL = 2, /* out_cap bytes do not hold the result */
    EDGECOMP_CORRUPT_DATA = 3,     /* the input is not what any encoder writes for these arguments */
    EDGECOMP_LIMIT_EXCEEDED = 4,   /* more than EDGECOMP_MAX_SYMBOLS symbols */
    EDGECOMP_OUT_OF_MEMORY = 5     /* reserved: nothing allocates memory today */
};

/* How a volume is packed. DENSE and SORTED are also the first byte of packed data; AUTO is only for edgecomp_pack. */
enum edgecomp_layout {
    EDGECOMP_LAYOUT_DENSE = 0,  /* base-`levels` digits, as many as fit into each byte */
    EDGECOMP_LAYOUT_SORTED = 1, /* zero flags, signs and magnitudes, sorted by what their neighbours predict */
    EDGECOMP_LAYOUT_AUTO = 2    /* the smaller of the two */
};

/*
 * edgecomp_status_text: a short English description of a status, for messages. Never NULL, also for a number that
 * is no status; static storage, not to be freed.
 */
const char *edgecomp_status_text(int status);

/*
 * edgecomp_pack_bound: the most bytes that edgecomp_pack writes for a volume of this shape with layout AUTO or
 * DENSE, whatever its symbols and counts; at least 1. Shapes with a 0 are allowed. No product overflows.
 *
 * Returns EDGECOMP_OK, BAD_ARGUMENT (bound is NULL, levels out of range) or LIMIT_EXCEEDED.
 */
int edgecomp_pack_bound(size_t channels, size_t height, size_t width, unsigned levels, size_t *bound);

/*
 * edgecomp_pack: packs a symbol volume compactly, in an order that suits LZMA.
 *
 *   symbols   channels * height * width bytes, channel by channel, row by row; each below levels.
 *   levels    EDGECOMP_MIN_LEVELS .. EDGECOMP_MAX_LEVELS.
 *   zero      the symbol that stands for the latent 0, below levels. Any symbol is correct; the most frequent one
 *             packs best.
 *   counts    NULL, or height * width bytes, the importance map: at a position only the channels c < counts are
 *             coded. Each count is at most `channels`, and every symbol that is left out equals `zero` (else
 *             BAD_ARGUMENT: nothing is dropped silently).
 *   layout    an enum edgecomp_layout. AUTO chooses. SORTED may need more than the bound (so may answer
 *             OUTPUT_TOO_SMALL there); it exists for measurements and tests.
 *   workspace scratch of workspace_len numbers, at least height * width (may be NULL for an empty volume); its
 *             contents mean nothing before and after.
 *   out       out_cap bytes; with out_cap at or above the bound, AUTO and DENSE always fit and the bytes depend
 *             on the other arguments alone.
 *   out_len   the number of bytes written.
 *
 * Returns EDGECOMP_OK, BAD_ARGUMENT, OUTPUT_TOO_SMALL or LIMIT_EXCEEDED.
 */
int edgecomp_pack(const uint8_t *symbols, size_t channels, size_t height, size_t width, unsigned levels,
                  unsigned zero, const uint8_t *counts, int layout, uint32_t *workspace,
                  size_t workspace_len, uint8_t *out, size_t out_cap, size_t *out_len);

/*
 * edgecomp_unpack: restores exactly the volume that edgecomp_pack was given.
 *
 * The shape, levels, zero and counts are those of packing; the caller stores them. `in` may be any bytes at all:
 * whatever they are, no byte outside the buffers is read or written, every symbol written is below levels, and the
 * time is proportional to the volume. `in` must be used up exactly: a missing or a spare byte, a digit outside the
 * alphabet, a padding bit that is set, all are CORRUPT_DATA. There is no checksum here: damage that happens to be
 * another valid volume is returned as such.
 *
 *   workspace as for edgecomp_pack.
 *   symbols   receives channels * height * width bytes; symbols_cap says how many fit.
 *
 * Returns EDGECOMP_OK, BAD_ARGUMENT, OUTPUT_TOO_SMALL (symbols_cap), CORRUPT_DATA or LIMIT_EXCEEDED.
 */
int edgecomp_unpack(const uint8_t *in, size_t in_len, size_t channels, size_t height, size_t width, unsigned levels,
                    unsigned zero, const uint8_t *counts, uint32_t *workspace, size_t workspace_len,
                    uint8_t *symbols, size_t symbols_cap);

/*
 * edgecomp_map_residual, edgecomp_map_restore: an importance map as the differences to a prediction from its left,
 * upper and upper left neighbours (the median edge detector of JPEG-LS), taken modulo levels, with levels / 2 as
 * the symbol of "as predicted". A smooth map becomes mostly that symbol, which then packs well; restore inverts
 * residual exactly for any bytes below levels.
 *
 *   in, out   height * width bytes each, row by row; every input byte below levels.
 *
 * Return EDGECOMP_OK, BAD_ARGUMENT or LIMIT_EXCEEDED.
 */
int edgecomp_map_residual(const uint8_t *in, size_t height, size_t width, unsigned levels, uint8_t *out);
int edgecomp_map_restore(const uint8_t *in, size_t height, size_t width, unsigned levels, uint8_t *out);

/* Which instructions the context coder uses. All give the same bytes and symbols; AUTO is the fastest there is. */
enum edgecomp_kernels {
    EDGECOMP_KERNELS_AUTO = 0,
    EDGECOMP_KERNELS_PORTABLE = 1,
    EDGECOMP_KERNELS_AVX2 = 2,
    EDGECOMP_KERNELS_NEON = 3,
    EDGECOMP_KERNELS_AVX512 = 4 /* with VNNI */
};

/* What edgecomp_context_prepare asks of its buffer's address. */
#define EDGECOMP_CONTEXT_ALIGNMENT 64

/*
 * edgecomp_context_prepared_size, edgecomp_context_prepare: the parameters of a context model (docs/format-context.md,
 * section 2), checked and laid out for this machine. Whatever bytes they are: a model that was prepared cannot overflow
 * or read beyond its tables, whatever symbols or coded bytes it meets.
 *
 *   parameters   the file's bytes, parameters_len of them.
 *   size         how many bytes the prepared model needs.
 *   prepared     receives it; the address is a multiple of EDGECOMP_CONTEXT_ALIGNMENT, there and wherever it is copied
 *                to. It is meant for this machine and this version alone, never for a file. The other functions only
 *                read it, and trust it.
 *
 * Return EDGECOMP_OK, BAD_ARGUMENT, OUTPUT_TOO_SMALL or CORRUPT_DATA (no parameters, another version, or out of range).
 */
int edgecomp_context_prepared_size(const uint8_t *parameters, size_t parameters_len, size_t *size);
int edgecomp_context_prepare(const uint8_t *parameters, size_t parameters_len, uint8_t *prepared, size_t prepared_cap);

/*
 * edgecomp_context_describe: the volumes that a prepared model codes. Returns EDGECOMP_OK or BAD_ARGUMENT.
 */
int edgecomp_context_describe(const uint8_t *prepared, size_t prepared_len, unsigned *channels, unsigned *levels,
                              unsigned *zero);

/*
 * edgecomp_context_workspace: bytes of scratch memory that coding a volume of this width needs; they grow with the
 * width, not with the height. Returns EDGECOMP_OK, BAD_ARGUMENT or LIMIT_EXCEEDED.
 */
int edgecomp_context_workspace(const uint8_t *prepared, size_t prepared_len, size_t width, size_t *size);

/*
 * edgecomp_context_encode: codes a volume with a context model and a range coder.
 *
 *   prepared     of edgecomp_context_prepare; it says channels, levels and zero.
 *   symbols, height, width, counts   as for edgecomp_pack.
 *   kernels      an enum edgecomp_kernels; one that this build or this machine lacks is a BAD_ARGUMENT.
 *   workspace    at least as many bytes as edgecomp_context_workspace says, of any alignment (may be NULL for an empty
 *                volume); their contents mean nothing before and after.
 *   out          out_cap bytes. Three bytes a symbol and eight are always enough; where the model fits, a small part of
 *                that is.
 *   out_len      the number of bytes written, 0 for an empty volume.
 *
 * Returns EDGECOMP_OK, BAD_ARGUMENT, OUTPUT_TOO_SMALL or LIMIT_EXCEEDED.
 */
int edgecomp_context_encode(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols, size_t height,
                            size_t width, const uint8_t *counts, int kernels, uint8_t *workspace, size_t workspace_len,
                            uint8_t *out, size_t out_cap, size_t *out_len);

/*
 * edgecomp_context_encode_chosen: as edgecomp_context_encode, but a symbol of magnitude one may become zero where that
 * saves more bits than the error is worth. What follows is predicted from the symbols as they became. Integers only:
 * every machine chooses alike.
 *
 *   fractions    NULL, or channels * height * width numbers: 256 times the latent less its symbol's value, from -128 to
 *                127. They are looked at where the symbol's magnitude is one.
 *   threshold    in 256ths of a bit, for a loss of one: the squared error that is added to the latent, or one for every
 *                symbol without fractions. A symbol becomes zero if the bits saved are more than threshold times loss.
 *   chosen       receives the symbols that were coded, which edgecomp_context_decode will give; chosen_cap says how
 *                many fit. The same buffer as `symbols` is not allowed.
 *
 * Returns as edgecomp_context_encode; OUTPUT_TOO_SMALL for chosen_cap too.
 */
int edgecomp_context_encode_chosen(const uint8_t *prepared, size_t prepared_len, const uint8_t *symbols,
                                   const int8_t *fractions, size_t height, size_t width, const uint8_t *counts,
                                   uint32_t threshold, int kernels, uint8_t *workspace, size_t workspace_len,
                                   uint8_t *chosen, size_t chosen_cap, uint8_t *out, size_t out_cap, size_t *out_len);

/*
 * edgecomp_context_decode: restores exactly the volume that edgecomp_context_encode was given, with the same model, on
 * any machine. `in` may be any bytes at all: no byte outside the buffers is read or written, every symbol written is
 * below levels, and the time is proportional to the volume. Bytes that are missing or left over are CORRUPT_DATA where
 * their number tells; there is no checksum here.
 *
 *   symbols      receives channels * height * width bytes; symbols_cap says how many fit.
 *
 * Returns EDGECOMP_OK, BAD_ARGUMENT, OUTPUT_TOO_SMALL (symbols_cap), CORRUPT_DATA or LIMIT_EXCEEDED.
 */
int edgecomp_context_decode(const uint8_t *prepared, size_t prepared_len, const uint8_t *in, size_t in_len,
                            size_t height, size_t width, const uint8_t *counts, int kernels, uint8_t *workspace,
                            size_t workspace_len, uint8_t *symbols, size_t symbols_cap);

/* Bits of edgecomp_processor's answer. */
enum edgecomp_processor_bits {
    EDGECOMP_PROCESSOR_SSE41 = 1,
    EDGECOMP_PROCESSOR_AVX2 = 2,
    EDGECOMP_PROCESSOR_AVX512 = 4, /* F, BW and VL */
    EDGECOMP_PROCESSOR_NEON = 8,
    EDGECOMP_PROCESSOR_DOT_PRODUCT = 16, /* four products of bytes and their sum: VNNI, or ARM's UDOT and SDOT */
    EDGECOMP_PROCESSOR_I8MM = 32         /* ARM's products of small matrices of bytes */
};

/*
 * edgecomp_processor: the vector instructions that this processor has and the system lets programs use, as the sum of
 * bits of enum edgecomp_processor_bits; 0 where nothing is known. For people and measurements: nothing here depends on
 * it.
 */
unsigned edgecomp_processor(void);

#ifdef __cplusplus
}
#endif

#endif
