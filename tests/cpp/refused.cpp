// What must not compile, each by its number.
#include "kvreg.hpp"

#if REFUSED == 1 // a failure that nobody looks at
void refused(kvreg::bucket &bucket) { kvreg::attempt([&] { bucket.clear(); }); }
#elif REFUSED == 2 // a character
void refused(kvreg::bucket &bucket) { bucket.put("k", 'c'); }
#elif REFUSED == 3
void refused(kvreg::bucket &bucket) { bucket.put("k", u8'c'); }
#elif REFUSED == 4 // a handle that is copied
kvreg::bucket refused(const kvreg::bucket &bucket) { return bucket; }
#elif REFUSED == 5 // a value in between, which would be gone when it is stored
struct converted {
    operator kvreg::value() const;
};
void refused(kvreg::bucket &bucket, std::pair<const char *, converted> (&pairs)[1]) {
    bucket.put_many(pairs);
}
#elif REFUSED == 6
kvreg::shared_value refused(const kvreg::shared_value &value) { return value; }
// From here on: one sentence says why.
#elif REFUSED == 8 // SENTENCE: a value is made of
void refused(kvreg::bucket &bucket) { bucket.put("k", &bucket); }
#elif REFUSED == 9 // SENTENCE: a value is made of
void refused(kvreg::bucket &bucket) { bucket.put("k", std::vector<int>{1}); }
#elif REFUSED == 10 // SENTENCE: a value is read as
void refused(kvreg::bucket &bucket) { (void)bucket.get<std::string_view>("k"); }
#elif REFUSED == 11 // SENTENCE: a value is read as
void refused(kvreg::bucket &bucket) { (void)bucket.get<char>("k"); }
#elif REFUSED == 12 // SENTENCE: returns what is stored
void refused(kvreg::bucket &bucket) {
    bucket.update("k", [](auto) {});
}
#elif REFUSED == 13 // SENTENCE: takes a std::optional
void refused(kvreg::bucket &bucket) {
    bucket.update("k", [](int) { return 1; });
}
#elif REFUSED == 14 // a number for a condition
void refused(kvreg::bucket &bucket) { bucket.put("k", 1, 7); }
#elif REFUSED == 15 // SENTENCE: a server has a member
struct silent {};
void refused(kvreg::registry &registry) { (void)registry.start_server<silent>("s"); }
#elif REFUSED == 16 // SENTENCE: made of copies
struct owner {
    explicit owner(std::unique_ptr<int>);
    kvreg::verdict handle(const kvreg::message &, kvreg::value &);
};
void refused(kvreg::registry &registry) {
    (void)registry.start_server<owner>("s", std::make_unique<int>(1));
}
#elif REFUSED == 17 // a bucket's own ways, for a server
void refused(kvreg::server &server) { server.put("k", 1); }
#elif REFUSED == 7 // a number for a reason
void refused(kvreg::bucket &bucket) { bucket.exit(KVREG_REASON_KILLED); }
#endif
