/* A small library; -DFIXED is its next version: one check more, and a function before the others. */
typedef unsigned long size;
static const char *const names[] = {"zero", "one", "two", "three", "four", "five", "six", "seven"};
static int counters[64];
static int (*handlers[8])(int);
int last_error;
#ifdef FIXED
__attribute__((noinline)) static int is_allowed(const char *name, size length) {
  for (size i = 0; i < length; i++)
    if (name[i] == '/' || name[i] == 0) { last_error = 22; return 0; }
  return 1;
}
#endif
__attribute__((noinline)) static size length_of(const char *s) { size n = 0; while (s[n]) n++; return n; }
__attribute__((noinline)) static int same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}
__attribute__((noinline)) int find(const char *name) {
#ifdef FIXED
  if (!is_allowed(name, length_of(name))) return -1;
#endif
  for (int i = 0; i < 8; i++) if (same(names[i], name)) return i;
  last_error = 2;
  return -1;
}
#define F(n) __attribute__((noinline)) int step_##n(int x) { counters[n]++; \
  switch (x % 9) { case 0: return find("one") + n; case 1: return x * n; case 2: last_error = n; return 7; \
  case 3: return counters[x & 63]; case 5: return find(names[x & 7]); case 7: return (int)length_of(names[n & 7]); default: return x - n; } }
F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15) F(16)
F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) F(29) F(30) F(31) F(32)
static int (*const table[])(int) = {step_1, step_2, step_3, step_4, step_5, step_6, step_7, step_8, step_9, step_10,
  step_11, step_12, step_13, step_14, step_15, step_16, step_17, step_18, step_19, step_20};
int run(int x) { for (int i = 0; i < 20; i++) x = table[i](x); handlers[x & 7] = table[x & 15]; return x + step_30(x) + step_31(x); }
