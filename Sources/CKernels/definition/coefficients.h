// Polynomials fitted for the weighted relative error of each function (iteratively reweighted least squares at Chebyshev
// nodes in extended precision, coefficients rounded to float one by one, the rest refitted). Frozen: numerics float32/1.
#define CK_ROUND 0x1.8p23f
#define CK_LOG2E 0x1.715476p+0f
#define CK_LN2_HIGH 0x1.62e400p-1f  // 16 bits, so n·high is exact
#define CK_LN2_LOW 0x1.7f7d1cp-20f
#define CK_EXP_LOWEST -87.3f
#define CK_EXP_HIGHEST 0x1.62e42ep+6f  // 88.72283
// (exp(r) − 1 − r) / r², |r| ≤ ln 2 / 2; 2^-28
#define CK_EXP_0 0x1.fffffcp-2f
#define CK_EXP_1 0x1.55548cp-3f
#define CK_EXP_2 0x1.5558bap-5f
#define CK_EXP_3 0x1.123e5cp-7f
#define CK_EXP_4 0x1.6a4b98p-10f

#define CK_SMALLEST_NORMAL 0x1p-126f
#define CK_ROOT_HALF_BITS 0x3f3504f3u
#define CK_LOG_LN2_HIGH 0x1.62e300p-1f
#define CK_LOG_LN2_LOW 0x1.2fefa4p-17f
// (log((1 + s) / (1 − s)) / s − 2) / s², |s| ≤ 0.1716; 2^-34
#define CK_LOG_0 0x1.555554p-1f
#define CK_LOG_1 0x1.999c24p-2f
#define CK_LOG_2 0x1.23d4d8p-2f
#define CK_LOG_3 0x1.f10538p-3f

#define CK_TANH_SPLIT 0.625f
// (tanh(x) / x − 1) / x², |x| ≤ 0.625; 2^-32
#define CK_TANH_0 -0x1.555554p-2f
#define CK_TANH_1 0x1.11107ap-3f
#define CK_TANH_2 -0x1.b9f18ap-5f
#define CK_TANH_3 0x1.63a57ep-6f
#define CK_TANH_4 -0x1.0c6020p-7f
#define CK_TANH_5 0x1.1a2e3ep-9f

#define CK_ERF_SPLIT 0.927734375f
#define CK_ERF_END 3.94f
// erf(x) / x − 1 in x², |x| ≤ 0.9277; 2^-30
#define CK_ERF_0 0x1.06eba8p-3f
#define CK_ERF_1 -0x1.812740p-2f
#define CK_ERF_2 0x1.ce2d64p-4f
#define CK_ERF_3 -0x1.b8011ap-6f
#define CK_ERF_4 0x1.544a10p-8f
#define CK_ERF_5 -0x1.a6092cp-11f
#define CK_ERF_6 0x1.4f6114p-14f
// (log(erfc(t)) + t) / t, t in 0.92 … 3.95; 2^-30
#define CK_ERFC_0 -0x1.0778dcp-3f
#define CK_ERFC_1 -0x1.45328ep-1f
#define CK_ERFC_2 -0x1.b32568p-4f
#define CK_ERFC_3 0x1.855122p-6f
#define CK_ERFC_4 -0x1.dd6ba8p-9f
#define CK_ERFC_5 0x1.52795cp-12f
#define CK_ERFC_6 -0x1.78d116p-17f

#define CK_GELU_NEW_SCALE -0x1.988454p+0f  // −2·√(2/π)
#define CK_GELU_NEW_CUBIC 0.044715f
#define CK_QUICK_GELU_SCALE 1.702f
#define CK_ROOT_HALF 0x1.6a09e6p-1f
#define CK_INVERSE_ROOT_TWO_PI 0x1.988454p-2f
