#include <curl/curl.h>

// Swift calls no variadic functions: one plain function a kind of value.
static inline CURLcode curl_set_number(CURL *handle, CURLoption option, long value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_set_text(CURL *handle, CURLoption option, const char *value) { return curl_easy_setopt(handle, option, value); }
static inline CURLcode curl_set_pointer(CURL *handle, CURLoption option, void *value) { return curl_easy_setopt(handle, option, value); }
typedef size_t (*curl_take)(char *bytes, size_t size, size_t count, void *context);
static inline CURLcode curl_set_taker(CURL *handle, CURLoption option, curl_take value) { return curl_easy_setopt(handle, option, value); }
