//! Compiles the libzmq that `zeromq-src` carries, with CURVE from the libsodium that
//! `libsodium-sys-stable` has built just before, and links both statically.

use std::env;

use zeromq_src::{Build, LibLocation};

/// A value that the build script of `libsodium-sys-stable` (`links = "sodium"`) has published.
fn sodium(key: &str) -> String {
    let var = format!("DEP_SODIUM_{key}");
    env::var(&var).unwrap_or_else(|_| {
        panic!(
            "{var} is not set: libsodium has to be built from source here; \
             unset SODIUM_LIB_DIR and SODIUM_USE_PKG_CONFIG"
        )
    })
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Cargo shows the warnings of a path dependency in every build; those of libzmq's C++ code are
    // not ours to mend.
    let flags = env::var("CXXFLAGS").unwrap_or_default();
    // The second flag lets its threads have names.
    env::set_var("CXXFLAGS", format!("{flags} -w -DZMQ_HAVE_PTHREAD_SETNAME_2"));

    let location = LibLocation::new(sodium("LIB"), sodium("INCLUDE"));
    Build::new().with_libsodium(Some(location)).build();
}
