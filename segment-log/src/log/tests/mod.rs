mod damage;
mod faults;
mod files;
mod indexes;
mod model;
mod plain;
mod power_cut;
mod world;
