/* Products of int8 codes with few columns of weights, and which column is the largest. Compiled on first use (native.py), never needed.
 *
 * Sixteen pixels lie side by side in the lanes of vectors, so that scale, soft-max and maximum need no sums across lanes. One library
 * runs on every processor of its kind: which of the forms below is taken, is asked of the processor when it runs.
 *   vnni    AVX512 with int8 dot products: weights as one to three int8 digits, sums exact in int32
 *   avx512, avx2, plain   float32 products, in vectors of 64, 32 and 16 bytes (plain is NEON on arm64)
 * The file includes itself once for each form, because compilers fit vectors to the processor function by function.
 * Each function works on one thread and changes nothing but its outputs.
 */
#ifndef FORM
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "codes are read as little-endian words"
#endif

#define P 16                /* pixels in a tile */
#define MAX_DIM 1024
#define MAX_COLUMNS 256     /* of which the largest is asked */
#define INLINE static inline TARGET __attribute__((always_inline))
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define OWN(name) JOIN(name, FORM)

typedef struct {
    int dim, groups;        /* dimensions, and words of four of them */
    int columns, digits;    /* digits 0: weights are float32 */
    const float *weights;   /* (columns, 4 groups) */
    const int8_t *planes;   /* (columns, groups, digits, 4), the most significant digit first */
    const int32_t *offsets; /* (columns, digits): -128 times the sum of a plane, for codes are read as code + 128 */
    const float *steps;     /* (columns,) */
} Weights;

typedef union {
    int32_t words[MAX_DIM / 4][P];
    float values[MAX_DIM][P];
} __attribute__((aligned(64))) Tile;

typedef struct {
    const int8_t *codes;    /* (n, dim) */
    int64_t n;
    const float *scales;    /* (n,), or null for 1 */
    const float *added;     /* (columns,) added after the scale, or null */
    float *out;             /* (columns, n), or null */
    const uint8_t *names;   /* (columns,) of the columns; with `classes` */
    uint8_t *classes;       /* (n,): name of the largest column, or null */
    uint8_t *confidence;    /* (n,): its soft-max in percent, or null */
    float *top;             /* (n,): its value, or null */
    float sharpness;        /* of the soft-max: logits are multiplied by it, and the largest is what it was */
} Question;

/* ---------------------------------------------------------------- the forms */

#define FORM plain
#define TARGET
#define BYTES 16
#include "codes.c"

#if defined(__x86_64__)
#define FORM avx2
#define TARGET __attribute__((target("avx2,fma")))
#define BYTES 32
#include "codes.c"

#define FORM avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define BYTES 64
#include "codes.c"

#define FORM vnni
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define BYTES 64
#define INT8
#include "codes.c"
#endif

/* The forms this processor has: 0 plain, 1 avx2, 2 avx512, 3 vnni (and all below). */
int tessera_codes_form(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx512 && __builtin_cpu_supports("avx512vnni")) return 3;
    if (avx512) return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

int tessera_codes_max_dim(void) { return MAX_DIM; }

/* Products, and the largest of them; returns 0, or 1 where the question is too wide. See Question and Weights. */
int tessera_codes_product(
        int form, int dim, int columns, int digits, const float *weights, const int8_t *planes, const int32_t *offsets,
        const float *steps, const int8_t *codes, int64_t n, const float *scales, const float *added, float *out,
        const uint8_t *names, uint8_t *classes, uint8_t *confidence, float *top, float sharpness) {
    if (dim < 1 || dim > MAX_DIM || columns < 1 || (classes && columns > MAX_COLUMNS)) return 1;
    const Weights w = {dim, (dim + 3) / 4, columns, digits, weights, planes, offsets, steps};
    const Question q = {codes, n, scales, added, out, names, classes, confidence, top, sharpness};
    switch (form) {
#if defined(__x86_64__)
        case 3: answer_vnni(&q, &w); return 0;
        case 2: answer_avx512(&q, &w); return 0;
        case 1: answer_avx2(&q, &w); return 0;
#endif
        case 0: answer_plain(&q, &w); return 0;
        default: return 1;
    }
}

/* Squared lengths (n,) of codes (n, dim). */
void tessera_codes_squares(int form, const int8_t *codes, int64_t n, int dim, float *out) {
#if defined(__x86_64__)
    if (form > 1) { squares_avx512(codes, n, dim, out); return; }
    if (form > 0) { squares_avx2(codes, n, dim, out); return; }
#endif
    squares_plain(codes, n, dim, out);
}

#else /* ---------------------------------------------------------------- one form */

#define LANES (BYTES / 4)
#define PARTS (P / LANES)   /* vectors in a row of sixteen pixels */
#define vf OWN(vf)
#define vi OWN(vi)
typedef float vf __attribute__((vector_size(BYTES)));
typedef int32_t vi __attribute__((vector_size(BYTES)));

INLINE vf OWN(load)(const float *p) { vf v; memcpy(&v, p, BYTES); return v; }
INLINE void OWN(store)(float *p, vf v) { memcpy(p, &v, BYTES); }
INLINE vf OWN(all)(float x) { return x - (vf){0}; }
INLINE vf OWN(choose)(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }

/* exp(x) for x <= 0, right to 2 units in the last place; below -87 it is exp(-87). */
INLINE vf OWN(vexp)(vf x) {
    x = OWN(choose)(x > -87.0f, x, OWN(all)(-87.0f));
    vf n = x * 1.44269504f + 12582912.0f;
    const vi whole = (vi)n - 0x4b400000;
    n -= 12582912.0f;
    const vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (vf)((vi)p + (whole << 23));
}

#if !defined(INT8)
/* Codes of up to 16 pixels as float32 (4 groups, 16); pixels beyond `count` repeat the last one. */
INLINE void OWN(unpack)(const int8_t *codes, int count, const Weights *w, Tile *tile) {
    /* Words are written some groups ahead of being read as vectors: a vector cannot be read out of stores still under way. */
    enum { AHEAD = 16 };
    int32_t words[AHEAD][P] __attribute__((aligned(64)));
    const int8_t *rows[P];
    for (int p = 0; p < P; p++) rows[p] = codes + (int64_t)(p < count ? p : count - 1) * w->dim;
    const int whole = w->dim / 4;
    for (int start = 0; start < w->groups; start += AHEAD) {
        const int stop = w->groups - start < AHEAD ? w->groups - start : AHEAD;
        const int full = whole - start < AHEAD ? whole - start : AHEAD;
        for (int p = 0; p < P; p++) {
            const int8_t *row = rows[p] + 4 * start;
            for (int g = 0; g < full; g++) memcpy(&words[g][p], row + 4 * g, 4);
            if (full < stop) {
                words[full][p] = 0;
                memcpy(&words[full][p], row + 4 * full, w->dim - 4 * whole);
            }
        }
        for (int g = 0; g < stop; g++)
            for (int v = 0; v < PARTS; v++) {
                vi word;
                memcpy(&word, words[g] + v * LANES, BYTES);
                for (int b = 0; b < 4; b++)
                    OWN(store)(tile->values[4 * (start + g) + b] + v * LANES,
                               __builtin_convertvector((word << (24 - 8 * b)) >> 24, vf));
            }
    }
}

INLINE void OWN(columns)(const Tile *tile, const Weights *w, int first, const int many, float (*out)[P]) {
    const int wide = 4 * w->groups;
    const float *weights = w->weights + (int64_t)first * wide;
    vf sums[4][PARTS];
#pragma GCC unroll 4
    for (int c = 0; c < many; c++)
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++) sums[c][v] = OWN(all)(0.0f);
    for (int i = 0; i < wide; i++) {
        vf x[PARTS];
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++) x[v] = OWN(load)(tile->values[i] + v * LANES);
#pragma GCC unroll 4
        for (int c = 0; c < many; c++)
#pragma GCC unroll 4
            for (int v = 0; v < PARTS; v++) sums[c][v] += x[v] * weights[c * wide + i];
    }
#pragma GCC unroll 4
    for (int c = 0; c < many; c++)
#pragma GCC unroll 4
        for (int v = 0; v < PARTS; v++) OWN(store)(out[c] + v * LANES, sums[c][v]);
}

INLINE void OWN(products)(const Tile *tile, const Weights *w, int first, int many, float (*out)[P]) {
    switch (many) {
        case 4: OWN(columns)(tile, w, first, 4, out); break;
        case 3: OWN(columns)(tile, w, first, 3, out); break;
        case 2: OWN(columns)(tile, w, first, 2, out); break;
        default: OWN(columns)(tile, w, first, 1, out);
    }
}

#else
/* Codes of up to 16 pixels as words (groups, 16) of four bytes code + 128. */
static TARGET void OWN(unpack)(const int8_t *codes, int count, const Weights *w, Tile *tile) {
    const __m512i high = _mm512_set1_epi8((char)0x80);
    for (int start = 0; start < w->dim; start += 64) {
        const int bytes = w->dim - start < 64 ? w->dim - start : 64;
        const __mmask64 mask = bytes == 64 ? ~0ull : (1ull << bytes) - 1;
        __m512i a[P], b[P];
        for (int p = 0; p < P; p++) {
            const int8_t *row = codes + (int64_t)(p < count ? p : count - 1) * w->dim + start;
            a[p] = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row), high);
        }
        for (int p = 0; p < P; p += 4) {
            const __m512i t0 = _mm512_unpacklo_epi32(a[p], a[p + 1]), t1 = _mm512_unpackhi_epi32(a[p], a[p + 1]);
            const __m512i t2 = _mm512_unpacklo_epi32(a[p + 2], a[p + 3]), t3 = _mm512_unpackhi_epi32(a[p + 2], a[p + 3]);
            b[p] = _mm512_unpacklo_epi64(t0, t2), b[p + 1] = _mm512_unpackhi_epi64(t0, t2);
            b[p + 2] = _mm512_unpacklo_epi64(t1, t3), b[p + 3] = _mm512_unpackhi_epi64(t1, t3);
        }
        /* b[4 q + j], quarter l: word 4 l + j of pixels 4 q to 4 q + 3. */
        for (int j = 0; j < 4; j++) {
            const __m512i even = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x88), odd = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xdd);
            const __m512i even2 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x88);
            const __m512i odd2 = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xdd);
            const __m512i quarter[4] = {
                _mm512_shuffle_i32x4(even, even2, 0x88), _mm512_shuffle_i32x4(odd, odd2, 0x88),
                _mm512_shuffle_i32x4(even, even2, 0xdd), _mm512_shuffle_i32x4(odd, odd2, 0xdd)};
            for (int l = 0; l < 4; l++)
                if (start / 4 + 4 * l + j < w->groups) _mm512_store_si512(tile->words[start / 4 + 4 * l + j], quarter[l]);
        }
    }
}

INLINE void OWN(columns)(
        const Tile *tile, const Weights *w, int first, const int many, const int digits, float (*out)[P]) {
    __m512i sums[4][3];
    const int8_t *planes[4];
#pragma GCC unroll 4
    for (int c = 0; c < many; c++) {
        planes[c] = w->planes + (int64_t)(first + c) * w->groups * digits * 4;
#pragma GCC unroll 3
        for (int i = 0; i < digits; i++) sums[c][i] = _mm512_set1_epi32(w->offsets[(first + c) * digits + i]);
    }
    for (int g = 0; g < w->groups; g++) {
        const __m512i x = _mm512_load_si512(tile->words[g]);
#pragma GCC unroll 4
        for (int c = 0; c < many; c++)
#pragma GCC unroll 3
            for (int i = 0; i < digits; i++) {
                int32_t word;
                memcpy(&word, planes[c] + (g * digits + i) * 4, 4);
                sums[c][i] = _mm512_dpbusd_epi32(sums[c][i], x, _mm512_set1_epi32(word));
            }
    }
#pragma GCC unroll 4
    for (int c = 0; c < many; c++) {
        __m512 value = _mm512_cvtepi32_ps(sums[c][digits - 1]);
        if (digits > 1) value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[c][digits - 2]), _mm512_set1_ps(256.0f), value);
        if (digits > 2) value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[c][0]), _mm512_set1_ps(65536.0f), value);
        _mm512_store_ps(out[c], _mm512_mul_ps(value, _mm512_set1_ps(w->steps[first + c])));
    }
}

static TARGET void OWN(products)(const Tile *tile, const Weights *w, int first, int many, float (*out)[P]) {
#define CASE(c, d) case 4 * (d) + (c) - 1: OWN(columns)(tile, w, first, c, d, out); break;
    switch (4 * w->digits + many - 1) {
        CASE(1, 1) CASE(2, 1) CASE(3, 1) CASE(4, 1)
        CASE(1, 2) CASE(2, 2) CASE(3, 2) CASE(4, 2)
        CASE(1, 3) CASE(2, 3) CASE(3, 3) CASE(4, 3)
    }
#undef CASE
}
#endif

INLINE vf OWN(some)(const float *from, int count) {
    float few[LANES] = {0};
    if (count >= LANES) return OWN(load)(from);
    if (count > 0) memcpy(few, from, 4 * count);
    return OWN(load)(few);
}

INLINE void OWN(finish)(const Question *q, int64_t at, int count, int first, int many, float (*part)[P]) {
    for (int v = 0; v < PARTS; v++) {
        const vf scale = q->scales ? OWN(some)(q->scales + at + v * LANES, count - v * LANES) : OWN(all)(1.0f);
        for (int c = 0; c < many; c++) {
            vf value = OWN(load)(part[c] + v * LANES) * scale;
            if (q->added) value += q->added[first + c];
            OWN(store)(part[c] + v * LANES, value);
        }
    }
    if (q->out)
        for (int c = 0; c < many; c++) memcpy(q->out + (int64_t)(first + c) * q->n + at, part[c], 4 * count);
}

INLINE void OWN(largest)(const Question *q, int columns, int64_t at, int count, float (*logits)[P]) {
    float top[P];
    int32_t index[P], percent[P];
    for (int v = 0; v < PARTS; v++) {
        vf best = OWN(load)(logits[0] + v * LANES);
        vi which = {0};
        for (int c = 1; c < columns; c++) {
            const vf value = OWN(load)(logits[c] + v * LANES);
            const vi more = value > best;
            best = OWN(choose)(more, value, best);
            which = (more & c) | (~more & which);
        }
        OWN(store)(top + v * LANES, best);
        memcpy(index + v * LANES, &which, BYTES);
        if (!q->confidence) continue;
        /* The largest probability is 1 / sum(exp(sharpness (logit - top))). */
        vf sum = OWN(all)(0.0f);
        for (int c = 0; c < columns; c++) sum += OWN(vexp)((OWN(load)(logits[c] + v * LANES) - best) * q->sharpness);
        const vi whole = (vi)(100.0f / sum + 12582912.0f) - 0x4b400000;
        memcpy(percent + v * LANES, &whole, BYTES);
    }
    for (int p = 0; p < count; p++) q->classes[at + p] = q->names[index[p]];
    if (q->top) memcpy(q->top + at, top, 4 * count);
    if (q->confidence)
        for (int p = 0; p < count; p++) q->confidence[at + p] = (uint8_t)percent[p];
}

TARGET static void OWN(answer)(const Question *q, const Weights *w) {
    Tile tile;
    float logits[MAX_COLUMNS][P] __attribute__((aligned(64)));
    for (int64_t at = 0; at < q->n; at += P) {
        const int count = q->n - at < P ? (int)(q->n - at) : P;
        OWN(unpack)(q->codes + at * w->dim, count, w, &tile);
        for (int first = 0; first < w->columns; first += 4) {
            const int many = w->columns - first < 4 ? w->columns - first : 4;
            float(*part)[P] = q->classes ? logits + first : logits;
            OWN(products)(&tile, w, first, many, part);
            OWN(finish)(q, at, count, first, many, part);
        }
        if (q->classes) OWN(largest)(q, w->columns, at, count, logits);
    }
}

#if !defined(INT8)
TARGET static void OWN(squares)(const int8_t *codes, int64_t n, int dim, float *out) {
    for (int64_t p = 0; p < n; p++) {
        int32_t sum = 0;
        const int8_t *row = codes + p * dim;
        for (int i = 0; i < dim; i++) sum += (int16_t)row[i] * (int16_t)row[i];
        out[p] = (float)sum;
    }
}
#endif

#undef vf
#undef vi
#undef LANES
#undef PARTS
#undef FORM
#undef TARGET
#undef BYTES
#undef INT8
#endif
