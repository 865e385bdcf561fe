//! Who may do what with the files that waltool makes: as root, who sees it all, and as other users.

#[macro_use]
#[path = "../support/figure.rs"]
mod figure;
#[path = "../logs/mod.rs"]
mod logs;

mod another;
mod kept;
mod moments;
mod nothing;
mod people;
