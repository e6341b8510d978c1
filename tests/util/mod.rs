//! What the black-box tests share.

pub(crate) use testkit::*;
