//! The source files of a crate, without its tests.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Item, ItemMod};

use crate::attributes::{is_only_for_tests, path_of};

/// Returns the file of a library and those of all its modules, except modules that only tests have.
///
/// # Errors
///
/// Returns an error if a file is missing or is not Rust.
pub fn of_crate(lib: &Path) -> Result<BTreeSet<PathBuf>, Box<dyn Error>> {
    let mut files = BTreeSet::new();
    let directory = lib.parent().ok_or("a library is in a directory")?;
    visit_file(lib, directory, &mut files)?;
    Ok(files)
}

/// `directory` holds the modules of the file.
fn visit_file(
    path: &Path,
    directory: &Path,
    files: &mut BTreeSet<PathBuf>,
) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if is_only_for_tests(&file.attrs) {
        return Ok(());
    }
    files.insert(path.to_owned());
    visit_items(&file.items, path, directory, files)
}

fn visit_items(
    items: &[Item],
    path: &Path,
    directory: &Path,
    files: &mut BTreeSet<PathBuf>,
) -> Result<(), Box<dyn Error>> {
    for item in items {
        if let Item::Mod(module) = item
            && !is_only_for_tests(&module.attrs)
        {
            visit_module(module, path, directory, files)?;
        }
    }
    Ok(())
}

fn visit_module(
    module: &ItemMod,
    path: &Path,
    directory: &Path,
    files: &mut BTreeSet<PathBuf>,
) -> Result<(), Box<dyn Error>> {
    let inner = directory.join(module.ident.to_string());
    if let Some((_, items)) = &module.content {
        return visit_items(items, path, &inner, files);
    }
    if let Some(named) = path_of(&module.attrs) {
        let beside = path.parent().ok_or("a file is in a directory")?;
        let file = beside.join(named);
        let modules = file.parent().ok_or("a file is in a directory")?.to_owned();
        return visit_file(&file, &modules, files);
    }
    let file = inner.with_extension("rs");
    if file.is_file() {
        return visit_file(&file, &inner, files);
    }
    visit_file(&inner.join("mod.rs"), &inner, files)
}
