//! A shop that counts its stock: one bucket for each shelf, and a clerk for each customer. A shelf
//! that breaks down is noticed, and set up anew.

use std::error::Error;
use std::thread;
use std::time::Duration;

use kvreg::{Bucket, BucketOptions, Event, Inbox, Reason, Registry, RegistryOptions};
use kvreg::{Restart, Value, Verdict};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Takes so many from the shelf, or none if there are too few.
fn sell(shelf: &Bucket, what: &str, wanted: i64) -> Outcome<bool> {
    let sold = shelf.update(what, |stock| match stock.and_then(Value::as_i64) {
        Some(left) if left > wanted => Verdict::from(left - wanted),
        Some(left) if left == wanted => Verdict::Remove,
        _ => Verdict::Abort,
    });
    match sold {
        Ok(()) => Ok(true),
        Err(kvreg::Error::Aborted) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub fn main() -> Outcome<()> {
    let shelves = BucketOptions::new().restart(Restart::Transient);
    let options = RegistryOptions::new().name("shop").bucket(shelves);
    let shop = Registry::start_with(options)?;
    let dairy = shop.create("dairy")?;
    dairy.put_many([("milk", 30), ("butter", 4)])?;
    shop.create("bakery")?.put("rye bread", 1)?;

    // Whoever is in this process finds the shop by its name.
    let clerks: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                let dairy = Registry::whereis("shop").and_then(|shop| shop.lookup("dairy"));
                let dairy = dairy.expect("the shop is open");
                let sell = |_: &u32| sell(&dairy, "milk", 2).expect("the shelf is there");
                (0..5).filter(sell).count()
            })
        })
        .collect();
    let sold: usize = clerks.into_iter().map(|it| it.join().expect("done")).sum();
    let left = dairy.get::<Option<i64>>("milk")?;
    println!("sold milk {sold} times, left {left:?}");

    let inbox = Inbox::open()?;
    inbox.monitor(&dairy)?;
    dairy.exit(Reason::Killed, "the cooling failed")?;
    if let Event::Down { name, detail, .. } = inbox.receive(Duration::from_secs(1))? {
        println!("{} is down: {detail}", name.unwrap_or_default());
    }
    for name in &shop {
        println!("{name} has {} kinds", shop.lookup(&name)?.count()?);
    }
    Ok(shop.stop()?)
}
