//! A file that is changed through a log: on the system's own files, and on a disk that loses its power or fails a call.

mod crashes;
mod pairs;
mod system;
mod times;
