//! Tests that are functions, listed for a harness that is not the standard one.

/// A test: `trial!(fn NAME)`, or `trial!(async fn NAME)` for one that waits. It fails by panicking.
macro_rules! trial {
    (async fn $name:ident) => {
        $crate::trial::named(module_path!(), stringify!($name), || {
            $crate::trial::wait($name())
        })
    };
    (fn $name:ident) => {
        $crate::trial::named(module_path!(), stringify!($name), $name)
    };
}

use std::cell::RefCell;

use libtest_mimic::Trial;

thread_local! {
    /// The test that this thread runs.
    static CURRENT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The name of the test that this thread runs.
pub(crate) fn current() -> String {
    CURRENT.with_borrow(Clone::clone)
}

/// A test by its module and name.
pub(crate) fn named(module: &str, name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    let module = module.split_once("::").map_or("", |(_, module)| module);
    let name = format!("{module}::{name}");
    Trial::test(name.clone(), move || {
        CURRENT.set(name);
        test();
        Ok(())
    })
}

/// Runs a test that waits, on a runtime of its own.
pub(crate) fn wait(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}
