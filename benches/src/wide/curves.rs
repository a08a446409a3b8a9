//! Points for the plots: value size against time, and threads against throughput.

use super::clock::{medians, rate, with_keys};
use super::rows::Rows;
use super::sizes::Sized;
use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::peers::{Dash, Papaya, Store};

const SIZES: [usize; 14] = [
    8, 16, 32, 64, 65, 128, 256, 512, 513, 1024, 4096, 4097, 16384, 65536,
];
const THREADS: [usize; 4] = [1, 2, 4, 8];
const VALUE: [u8; 64] = [7; 64];

fn sizes(rows: &mut Rows) {
    for size in SIZES {
        let sized = Sized::new(size);
        for (what, [kvreg, dash]) in [("get", sized.get()), ("put", sized.put())] {
            rows.point("sizes", &format!("kvreg, {what}"), size, kvreg);
            rows.point("sizes", &format!("DashMap, {what}"), size, dash);
        }
    }
}

fn threads(rows: &mut Rows) {
    let (kvreg, dash, papaya) = (Bucket::patient(), Dash::default(), Papaya::default());
    let stores: [(&str, &dyn Store); 3] =
        [("kvreg", &kvreg), ("DashMap", &dash), ("papaya", &papaya)];
    let keys = Keys::shuffled(1000, 1000);
    for (_, store) in stores {
        keys.iter().for_each(|key| store.write(key, &VALUE));
    }
    for threads in THREADS {
        for what in ["get", "put"] {
            let turn = |store: &dyn Store| {
                let work = |thread: usize| {
                    let mut buffer = VALUE;
                    let work = move |key: &[u8]| match what {
                        "get" => store.read(key, &mut buffer),
                        _ => store.write(key, &VALUE),
                    };
                    let mut work = with_keys(&keys, work);
                    // Threads are not at the same keys at the same time.
                    (0..thread).for_each(|_| _ = work());
                    work
                };
                rate((0..threads).map(work).collect())
            };
            let figures = medians([
                &mut || turn(stores[0].1),
                &mut || turn(stores[1].1),
                &mut || turn(stores[2].1),
            ]);
            for ((name, _), figure) in stores.iter().zip(figures) {
                rows.point("threads", &format!("{name}, {what}"), threads, figure);
            }
        }
    }
}

pub fn measure(rows: &mut Rows) {
    sizes(rows);
    threads(rows);
    println!("(points for the plots, no rows)");
}
