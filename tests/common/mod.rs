//! How often the tests try what is a matter of luck.

/// This count in `make test`, ten times as many in `make test-often`, which sets
/// KVREG_TEST_SCALE.
pub fn scaled(count: u32) -> u32 {
    let scale = std::env::var("KVREG_TEST_SCALE").ok();
    let scale: u32 = scale.map_or(1, |text| {
        text.parse().expect("KVREG_TEST_SCALE is a number")
    });
    count * scale.max(1)
}
