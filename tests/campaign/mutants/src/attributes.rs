//! Attributes that decide whether code is compiled without tests, and where a module is.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Token};

/// Whether code with these attributes exists in tests only.
pub fn is_only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Meta>().is_ok_and(|meta| without_tests(&meta) == Some(false))
    })
}

/// Returns the file name of `#[path = "…"]`.
pub fn path_of(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether a condition of `cfg` holds in a build without tests; [`None`] if that depends on more.
fn without_tests(meta: &Meta) -> Option<bool> {
    let Meta::List(list) = meta else {
        return meta.path().is_ident("test").then_some(false);
    };
    let inner = list
        .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|inner| inner.iter().map(without_tests).collect::<Vec<_>>())
        .unwrap_or_default();
    if list.path.is_ident("not") {
        return inner.first().copied().flatten().map(|holds| !holds);
    }
    let (decides, otherwise) =
        if list.path.is_ident("all") { (false, true) } else { (true, false) };
    if inner.contains(&Some(decides)) {
        return Some(decides);
    }
    inner.iter().all(|holds| *holds == Some(otherwise)).then_some(otherwise)
}
