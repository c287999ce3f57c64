/* Kernels that torch has no quick form of on a CPU: attention inside many short sequences packed without padding, LayerNorm,
 * attention pooling and the element-wise half of TESSERA's recurrent cell. Compiled on first use by native.py, never needed.
 *
 * Vectors are the compiler's generic ones, so the file builds on any processor; bfloat16 products use AVX512-BF16 where it
 * exists and float32 otherwise. All statistics and accumulations are float32. Each function works on one thread.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define LANES 16
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint16_t bf16;

static inline vf load(const float *p) { vf v; memcpy(&v, p, 64); return v; }
static inline void store(float *p, vf v) { memcpy(p, &v, 64); }
static inline vf all(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

static inline vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#else
    vi m = a > b;
    return (vf)(((vi)a & m) | ((vi)b & ~m));
#endif
}
static inline float hmax(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float m = v[0];
    for (int i = 1; i < LANES; i++) m = v[i] > m ? v[i] : m;
    return m;
#endif
}
static inline float hsum(vf v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float s = 0;
    for (int i = 0; i < LANES; i++) s += v[i];
    return s;
#endif
}

/* e^x to about 1 ulp for x <= 88; below -87 it stays at the smallest normal number. Cody-Waite reduction. */
static inline vf vexp(vf x) {
    x = vmax(x, all(-87.0f));
    vf n = (x * all(1.44269504088896341f) + all(12582912.0f)) - all(12582912.0f);
    vf r = x - n * all(0.693359375f);
    r = r - n * all(-2.12194440e-4f);
    vf p = all(1.9875691500e-4f);
    p = p * r + all(1.3981999507e-3f);
    p = p * r + all(8.3334519073e-3f);
    p = p * r + all(4.1665795894e-2f);
    p = p * r + all(1.6666665459e-1f);
    p = p * r + all(5.0000001201e-1f);
    p = p * r * r + r + all(1.0f);
    vi e = __builtin_convertvector(n, vi);
    return (vf)((vi)p + (e << 23));
}

static inline float widen1(bf16 x) {
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline bf16 narrow1(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    if ((u & 0x7fffffff) > 0x7f800000) return (bf16)((u >> 16) | 64);
    return (bf16)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
static inline vf widen(const bf16 *p) {
#if defined(__AVX512F__)
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
    vf v;
    for (int i = 0; i < LANES; i++) v[i] = widen1(p[i]);
    return v;
#endif
}
static inline void narrow(bf16 *p, vf v) {
#if defined(__AVX512BF16__)
    __m256bh h = _mm512_cvtneps_pbh((__m512)v);
    memcpy(p, &h, 32);
#else
    for (int i = 0; i < LANES; i++) p[i] = narrow1(v[i]);
#endif
}

/* Rows as float32 in a scratch buffer, and back. */
static inline void read_row(float *to, const void *from, int n, int is_bf16) {
    if (!is_bf16) { memcpy(to, from, (size_t)n * 4); return; }
    const bf16 *p = from;
    int i = 0;
    for (; i + LANES <= n; i += LANES) store(to + i, widen(p + i));
    for (; i < n; i++) to[i] = widen1(p[i]);
}
static inline void write_row(void *to, const float *from, int n, int is_bf16) {
    if (!is_bf16) { memcpy(to, from, (size_t)n * 4); return; }
    bf16 *p = to;
    int i = 0;
    for (; i + LANES <= n; i += LANES) narrow(p + i, load(from + i));
    for (; i < n; i++) p[i] = narrow1(from[i]);
}

/* ---- small matrix products: 4 rows x NV vectors, accumulators in registers ------------------------------------------- */

#define ROWS 4
#define WIDEST 6

#define F32_PRODUCT(NV)                                                                                                  \
    static void f32_##NV(const float *const a[ROWS], const float *b, int ldb, int n, float *c, int ldc) {               \
        vf s[ROWS][NV];                                                                                                  \
        for (int r = 0; r < ROWS; r++)                                                                                   \
            for (int v = 0; v < NV; v++) s[r][v] = all(0);                                                               \
        for (int k = 0; k < n; k++) {                                                                                    \
            vf w[NV];                                                                                                    \
            for (int v = 0; v < NV; v++) w[v] = load(b + (size_t)k * ldb + v * LANES);                                   \
            for (int r = 0; r < ROWS; r++) {                                                                             \
                vf x = all(a[r][k]);                                                                                     \
                for (int v = 0; v < NV; v++) s[r][v] += x * w[v];                                                        \
            }                                                                                                            \
        }                                                                                                                \
        for (int r = 0; r < ROWS; r++)                                                                                   \
            for (int v = 0; v < NV; v++) store(c + (size_t)r * ldc + v * LANES, s[r][v]);                                \
    }
F32_PRODUCT(1) F32_PRODUCT(2) F32_PRODUCT(3) F32_PRODUCT(4) F32_PRODUCT(5) F32_PRODUCT(6)

static void f32_product(const float *const a[ROWS], const float *b, int ldb, int n, float *c, int ldc, int vectors) {
    for (int v = 0; v < vectors;) {
        int left = vectors - v;
        const float *bv = b + v * LANES;
        float *cv = c + v * LANES;
        if (left >= 12 || left == 6) { f32_6(a, bv, ldb, n, cv, ldc); v += 6; }
        else if (left >= 10 || left == 5) { f32_5(a, bv, ldb, n, cv, ldc); v += 5; }
        else if (left >= 7 || left == 4) { f32_4(a, bv, ldb, n, cv, ldc); v += 4; }
        else if (left == 3) { f32_3(a, bv, ldb, n, cv, ldc); v += 3; }
        else if (left == 2) { f32_2(a, bv, ldb, n, cv, ldc); v += 2; }
        else { f32_1(a, bv, ldb, n, cv, ldc); v += 1; }
    }
}

#if defined(__AVX512BF16__)
/* The same with pairs of bfloat16: a holds (x[2k], x[2k+1]) in 32 bits, b rows of such pairs for 16 columns. */
#define BF_PRODUCT(NV)                                                                                                   \
    static void bf_##NV(const uint32_t *const a[ROWS], const uint32_t *b, int ldb, int n, float *c, int ldc) {          \
        __m512 s[ROWS][NV];                                                                                              \
        for (int r = 0; r < ROWS; r++)                                                                                   \
            for (int v = 0; v < NV; v++) s[r][v] = _mm512_setzero_ps();                                                  \
        for (int k = 0; k < n; k++) {                                                                                    \
            __m512i w[NV];                                                                                               \
            for (int v = 0; v < NV; v++) w[v] = _mm512_loadu_si512(b + (size_t)k * ldb + v * LANES);                     \
            for (int r = 0; r < ROWS; r++) {                                                                             \
                __m512bh x = (__m512bh)_mm512_set1_epi32((int)a[r][k]);                                                  \
                for (int v = 0; v < NV; v++) s[r][v] = _mm512_dpbf16_ps(s[r][v], x, (__m512bh)w[v]);                     \
            }                                                                                                            \
        }                                                                                                                \
        for (int r = 0; r < ROWS; r++)                                                                                   \
            for (int v = 0; v < NV; v++) _mm512_storeu_ps(c + (size_t)r * ldc + v * LANES, s[r][v]);                     \
    }
BF_PRODUCT(1) BF_PRODUCT(2) BF_PRODUCT(3) BF_PRODUCT(4) BF_PRODUCT(5) BF_PRODUCT(6)

static void bf_product(const uint32_t *const a[ROWS], const uint32_t *b, int ldb, int n, float *c, int ldc, int vectors) {
    for (int v = 0; v < vectors;) {
        int left = vectors - v;
        const uint32_t *bv = b + v * LANES;
        float *cv = c + v * LANES;
        if (left >= 12 || left == 6) { bf_6(a, bv, ldb, n, cv, ldc); v += 6; }
        else if (left >= 10 || left == 5) { bf_5(a, bv, ldb, n, cv, ldc); v += 5; }
        else if (left >= 7 || left == 4) { bf_4(a, bv, ldb, n, cv, ldc); v += 4; }
        else if (left == 3) { bf_3(a, bv, ldb, n, cv, ldc); v += 3; }
        else if (left == 2) { bf_2(a, bv, ldb, n, cv, ldc); v += 2; }
        else { bf_1(a, bv, ldb, n, cv, ldc); v += 1; }
    }
}

/* 16 x 16 transpose of 32-bit words: rows of `from` (stride lds) become columns of `to` (stride ldt). */
static inline void transpose16(const uint32_t *from, size_t lds, int rows, __mmask16 cols, uint32_t *to, int ldt, int out) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_epi32(cols, from + i * lds) : _mm512_setzero_si512();
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
        r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
        r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
    }
    for (int i = 0; i < out; i++) _mm512_storeu_si512(to + (size_t)i * ldt, r[i]);
}
#endif

/* ---- attention --------------------------------------------------------------------------------------------------------- */

#define PAD(n) (((n) + LANES - 1) / LANES * LANES)

/* Softmax of one row of raw scores, in place, without dividing by the sum, which is returned. */
static inline float softmax_row(float *s, const float *bias, int padded, float scale) {
    vf top = all(-3e38f);
    for (int j = 0; j < padded; j += LANES) {
        vf x = load(s + j) * all(scale) + load(bias + j);
        store(s + j, x);
        top = vmax(top, x);
    }
    vf shift = all(hmax(top)), sum = all(0);
    for (int j = 0; j < padded; j += LANES) {
        vf x = vexp(load(s + j) - shift);
        store(s + j, x);
        sum += x;
    }
    return hsum(sum);
}

/* qkv: (M, 3 d); offsets: first token of each of the pixels and the total; bias: (M,) or NULL; out: (M, d).
 * Returns 0, or 1 when memory ran out. */
int tessera_attention(const void *qkv, void *out, const int32_t *offsets, const float *bias, int pixels, int heads,
                      int head_dim, int is_bf16) {
    int longest = 1;
    for (int p = 0; p < pixels; p++) {
        int n = offsets[p + 1] - offsets[p];
        longest = n > longest ? n : longest;
    }
    const int hd = head_dim, hp = PAD(hd), tp_max = PAD(longest), d = heads * hd;
    const size_t ld = (size_t)3 * d;
    const float scale = 1.0f / sqrtf((float)hd);
    const size_t words = (size_t)hp * tp_max + (size_t)(tp_max + 1) * hp + (size_t)ROWS * (2 * tp_max + 2 * hp) + tp_max +
                         (size_t)tp_max * hp;
    float *memory = NULL;
    if (posix_memalign((void **)&memory, 64, words * 4)) return 1;
    float *kt = memory, *vv = kt + (size_t)hp * tp_max, *s = vv + (size_t)(tp_max + 1) * hp, *o = s + ROWS * tp_max;
    float *key_bias = o + ROWS * hp, *qq = key_bias + tp_max;
    float *pp = qq + (size_t)tp_max * hp;
    (void)pp;

    for (int p = 0; p < pixels; p++) {
        const int start = offsets[p], n = offsets[p + 1] - start, tp = PAD(n);
        for (int j = 0; j < tp; j++) key_bias[j] = j >= n ? -1e30f : bias ? bias[start + j] : 0.0f;
        for (int h = 0; h < heads; h++) {
            float sums[ROWS];
#if defined(__AVX512BF16__)
            if (is_bf16 && hd % 2 == 0) {
                const bf16 *base = (const bf16 *)qkv + start * ld + (size_t)h * hd;
                const int half = hd / 2, pairs = (n + 1) / 2;
                uint32_t *k2 = (uint32_t *)kt, *v2 = (uint32_t *)vv, *p2 = (uint32_t *)pp;
                const uint32_t *keys = (const uint32_t *)(base + d);
                for (int j = 0; j < n; j += 16)
                    for (int c = 0; c < half; c += 16) {
                        int cols = half - c < 16 ? half - c : 16, rows = n - j < 16 ? n - j : 16;
                        transpose16(keys + j * (ld / 2) + c, ld / 2, rows, (__mmask16)((1u << cols) - 1),
                                    k2 + (size_t)c * tp + j, tp, cols);
                    }
                for (int j = 0; j < pairs; j++) {
                    const bf16 *lo = base + 2 * d + 2 * j * ld, *hi = lo + ld;
                    for (int c = 0; c < hd; c += 16) {
                        __mmask16 m = hd - c < 16 ? (__mmask16)((1u << (hd - c)) - 1) : (__mmask16)0xffff;
                        __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, lo + c));
                        if (2 * j + 1 < n) {
                            __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, hi + c));
                            a = _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
                        }
                        _mm512_storeu_si512(v2 + (size_t)j * hp + c, a);
                    }
                }
                for (int i = 0; i < n; i += ROWS) {
                    const uint32_t *a[ROWS], *w[ROWS];
                    int rows = n - i < ROWS ? n - i : ROWS;
                    for (int r = 0; r < ROWS; r++) a[r] = (const uint32_t *)(base + (size_t)(i + (r < rows ? r : 0)) * ld);
                    bf_product(a, k2, tp, half, s, tp, tp / LANES);
                    for (int r = 0; r < ROWS; r++) {
                        w[r] = p2 + (size_t)r * (tp_max / 2);
                        if (r >= rows) continue;
                        softmax_row(s + r * tp, key_bias, tp, scale);
                        /* The sum is taken of the rounded weights, so that they add up to one. */
                        vf sum = all(0);
                        bf16 *to = (bf16 *)w[r];
                        for (int j = 0; j < tp; j += LANES) {
                            narrow(to + j, load(s + r * tp + j));
                            sum += widen(to + j);
                        }
                        sums[r] = hsum(sum);
                    }
                    bf_product(w, v2, hp, pairs, o, hp, hp / LANES);
                    for (int r = 0; r < rows; r++) {
                        const vf inverse = all(1.0f / sums[r]);
                        for (int c = 0; c < hp; c += LANES) store(o + r * hp + c, load(o + r * hp + c) * inverse);
                        write_row((bf16 *)out + (size_t)(start + i + r) * d + h * hd, o + r * hp, hd, 1);
                    }
                }
                continue;
            }
#endif
            for (int j = 0; j < n; j++) {
                const size_t at = (start + j) * ld + (size_t)h * hd;
                if (is_bf16) {
                    const bf16 *row = (const bf16 *)qkv + at;
                    for (int c = 0; c < hd; c++) {
                        qq[(size_t)j * hp + c] = widen1(row[c]);
                        kt[(size_t)c * tp + j] = widen1(row[d + c]);
                        vv[(size_t)j * hp + c] = widen1(row[2 * d + c]);
                    }
                } else {
                    const float *row = (const float *)qkv + at;
                    memcpy(qq + (size_t)j * hp, row, (size_t)hd * 4);
                    for (int c = 0; c < hd; c++) kt[(size_t)c * tp + j] = row[d + c];
                    memcpy(vv + (size_t)j * hp, row + 2 * d, (size_t)hd * 4);
                }
                for (int c = hd; c < hp; c++) vv[(size_t)j * hp + c] = 0;
            }
            for (int c = 0; c < hd; c++)
                for (int j = n; j < tp; j++) kt[(size_t)c * tp + j] = 0;
            for (int i = 0; i < n; i += ROWS) {
                const float *a[ROWS], *w[ROWS];
                int rows = n - i < ROWS ? n - i : ROWS;
                for (int r = 0; r < ROWS; r++) a[r] = qq + (size_t)(i + (r < rows ? r : 0)) * hp;
                f32_product(a, kt, tp, hd, s, tp, tp / LANES);
                for (int r = 0; r < ROWS; r++) {
                    w[r] = s + r * tp;
                    if (r < rows) sums[r] = softmax_row(s + r * tp, key_bias, tp, scale);
                }
                f32_product(w, vv, hp, n, o, hp, hp / LANES);
                for (int r = 0; r < rows; r++) {
                    const vf inverse = all(1.0f / sums[r]);
                    for (int c = 0; c < hp; c += LANES) store(o + r * hp + c, load(o + r * hp + c) * inverse);
                    const size_t at = (size_t)(start + i + r) * d + (size_t)h * hd;
                    write_row(is_bf16 ? (void *)((bf16 *)out + at) : (void *)((float *)out + at), o + r * hp, hd, is_bf16);
                }
            }
        }
    }
    free(memory);
    return 0;
}

/* ---- LayerNorm, in place or not ------------------------------------------------------------------------------------------ */

/* Sum of n floats, whole vectors plus a tail; the buffer is padded to whole vectors with zeros by the callers. */
static inline void statistics(const float *x, int n, float *mean, float *inverse) {
    vf s = all(0);
    for (int i = 0; i < PAD(n); i += LANES) s += load(x + i);
    const float m = hsum(s) / n;
    vf q = all(0);
    const vf mm = all(m);
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf c = load(x + i) - mm;
        q += c * c;
    }
    float v = hsum(q);
    for (; i < n; i++) v += (x[i] - m) * (x[i] - m);
    *mean = m;
    *inverse = 1.0f / sqrtf(v / n + 1e-5f);
}

#define MAX_WIDTH 4096

void tessera_layer_norm(const void *x, void *out, const float *gain, const float *bias, int64_t rows, int width,
                        int is_bf16) {
    float row[MAX_WIDTH + LANES];
    const size_t bytes = (size_t)width * (is_bf16 ? 2 : 4);
    for (int64_t r = 0; r < rows; r++) {
        read_row(row, (const char *)x + r * bytes, width, is_bf16);
        for (int i = width; i < PAD(width); i++) row[i] = 0;
        float mean, inverse;
        statistics(row, width, &mean, &inverse);
        const vf m = all(mean), k = all(inverse);
        int i = 0;
        for (; i + LANES <= width; i += LANES)
            store(row + i, (load(row + i) - m) * k * load(gain + i) + load(bias + i));
        for (; i < width; i++) row[i] = (row[i] - mean) * inverse * gain[i] + bias[i];
        write_row((char *)out + r * bytes, row, width, is_bf16);
    }
}

/* ---- attention pooling --------------------------------------------------------------------------------------------------- */

static inline float dot(const float *a, const float *b, int n) {
    vf s = all(0);
    int i = 0;
    for (; i + LANES <= n; i += LANES) s += load(a + i) * load(b + i);
    float v = hsum(s);
    for (; i < n; i++) v += a[i] * b[i];
    return v;
}

/* Softmax over each pixel's tokens of <query, x> + bias, then the weighted sum: out (P, width) float32. Online, one pass. */
void tessera_pool(const void *x, float *out, const float *query, const int32_t *offsets, const float *bias, int pixels,
                  int width, int is_bf16) {
    float row[MAX_WIDTH + LANES];
    const size_t bytes = (size_t)width * (is_bf16 ? 2 : 4);
    for (int p = 0; p < pixels; p++) {
        float *o = out + (size_t)p * width;
        float top = -INFINITY, sum = 0;
        for (int i = 0; i < width; i++) o[i] = 0;
        for (int t = offsets[p]; t < offsets[p + 1]; t++) {
            read_row(row, (const char *)x + (size_t)t * bytes, width, is_bf16);
            const float score = dot(row, query, width) + (bias ? bias[t] : 0.0f);
            float weight = 1.0f;
            if (score > top) {
                const float shrink = expf(top - score);
                for (int i = 0; i < width; i++) o[i] *= shrink;
                sum *= shrink;
                top = score;
            } else {
                weight = expf(score - top);
            }
            sum += weight;
            for (int i = 0; i < width; i++) o[i] += weight * row[i];
        }
        for (int i = 0; i < width; i++) o[i] /= sum;
    }
}

/* ---- the recurrent cell's element-wise half -------------------------------------------------------------------------------- */

static inline vf sigmoid(vf x) { return all(1.0f) / (all(1.0f) + vexp(all(0) - x)); }
static inline vf hyperbolic(vf x) {
    /* Beyond 15 tanh is 1 in float32, and the exponential must not overflow. */
    vf y = vmax(all(-15.0f), all(0) - vmax(all(-15.0f), all(0) - x));
    vf e = vexp(y * all(2.0f));
    return (e - all(1.0f)) / (e + all(1.0f));
}

/* z = sigmoid(given_z + product_z); reset = sigmoid(given_r + product_r) * state, for rows (B,). Width is a multiple of 16.
 * product: (B, 2 width) state products of r and z; given: rows of 3 width input projections r, z, n at stride `step`. */
void tessera_gru_gates(const void *product, const void *given, int64_t step, const float *state, float *z, void *reset,
                       int rows, int width, int is_bf16) {
    const size_t size = is_bf16 ? 2 : 4;
    for (int b = 0; b < rows; b++) {
        const char *g = (const char *)given + (size_t)b * step * size, *q = (const char *)product + (size_t)b * 2 * width * size;
        for (int i = 0; i < width; i += LANES) {
            vf gr, gz, pr, pz;
            if (is_bf16) {
                gr = widen((const bf16 *)g + i), gz = widen((const bf16 *)g + width + i);
                pr = widen((const bf16 *)q + i), pz = widen((const bf16 *)q + width + i);
            } else {
                gr = load((const float *)g + i), gz = load((const float *)g + width + i);
                pr = load((const float *)q + i), pz = load((const float *)q + width + i);
            }
            const size_t at = (size_t)b * width + i;
            store(z + at, sigmoid(gz + pz));
            const vf r = sigmoid(gr + pr) * load(state + at);
            if (is_bf16) narrow((bf16 *)reset + at, r);
            else store((float *)reset + at, r);
        }
    }
}

/* state += z * (tanh(given_n + product) - state); rounded copy for the next product; logits[b] = <LN(state), query> up to the
 * constant, with folded = gain * query and its sum. */
void tessera_gru_update(const void *product, const void *given, int64_t step, float *state, const float *z, void *rounded,
                        const float *folded, float folded_sum, float *logits, int64_t logit_step, int rows, int width,
                        int is_bf16) {
    const size_t size = is_bf16 ? 2 : 4;
    for (int b = 0; b < rows; b++) {
        const char *g = (const char *)given + ((size_t)b * step + 2 * (size_t)width) * size;
        const char *q = (const char *)product + (size_t)b * width * size;
        float *s = state + (size_t)b * width;
        for (int i = 0; i < width; i += LANES) {
            vf x = is_bf16 ? widen((const bf16 *)g + i) + widen((const bf16 *)q + i)
                           : load((const float *)g + i) + load((const float *)q + i);
            const vf old = load(s + i);
            const vf h = old + load(z + (size_t)b * width + i) * (hyperbolic(x) - old);
            store(s + i, h);
            if (is_bf16) narrow((bf16 *)rounded + (size_t)b * width + i, h);
            else store((float *)rounded + (size_t)b * width + i, h);
        }
        float mean, inverse;
        statistics(s, width, &mean, &inverse);
        logits[(size_t)b * logit_step] = (dot(s, folded, width) - mean * folded_sum) * inverse;
    }
}

/* A whole step of the cell whose reset gate acts on the candidate's product: product and given are (B, 3 width) of r, z, n. */
void tessera_gru_after(const void *product, const void *given, int64_t step, float *state, void *rounded, const float *folded,
                       float folded_sum, float *logits, int64_t logit_step, int rows, int width, int is_bf16) {
    const size_t size = is_bf16 ? 2 : 4;
    for (int b = 0; b < rows; b++) {
        const char *g = (const char *)given + (size_t)b * step * size, *q = (const char *)product + (size_t)b * 3 * width * size;
        float *s = state + (size_t)b * width;
        for (int i = 0; i < width; i += LANES) {
            vf gr, gz, gn, pr, pz, pn;
            if (is_bf16) {
                gr = widen((const bf16 *)g + i), gz = widen((const bf16 *)g + width + i), gn = widen((const bf16 *)g + 2 * width + i);
                pr = widen((const bf16 *)q + i), pz = widen((const bf16 *)q + width + i), pn = widen((const bf16 *)q + 2 * width + i);
            } else {
                gr = load((const float *)g + i), gz = load((const float *)g + width + i), gn = load((const float *)g + 2 * width + i);
                pr = load((const float *)q + i), pz = load((const float *)q + width + i), pn = load((const float *)q + 2 * width + i);
            }
            const vf old = load(s + i);
            const vf h = old + sigmoid(gz + pz) * (hyperbolic(gn + sigmoid(gr + pr) * pn) - old);
            store(s + i, h);
            if (is_bf16) narrow((bf16 *)rounded + (size_t)b * width + i, h);
            else store((float *)rounded + (size_t)b * width + i, h);
        }
        float mean, inverse;
        statistics(s, width, &mean, &inverse);
        logits[(size_t)b * logit_step] = (dot(s, folded, width) - mean * folded_sum) * inverse;
    }
}

/* ---- first embedding layer ----------------------------------------------------------------------------------------------- */

/* out = relu(x W + b) for few inputs: x (rows, inputs) float32, w (inputs, padded width) float32 transposed, out (rows, width). */
void tessera_embed(const float *x, const float *w, const float *b, void *out, int64_t rows, int inputs, int width,
                   int is_bf16) {
    float row[MAX_WIDTH + LANES];
    const int wp = PAD(width);
    const size_t bytes = (size_t)width * (is_bf16 ? 2 : 4);
    for (int64_t r = 0; r < rows; r++) {
        const float *xr = x + r * inputs;
        for (int i = 0; i < wp; i += LANES) {
            vf s = load(b + i);
            for (int c = 0; c < inputs; c++) s += all(xr[c]) * load(w + (size_t)c * wp + i);
            store(row + i, vmax(s, all(0)));
        }
        write_row((char *)out + r * bytes, row, width, is_bf16);
    }
}
