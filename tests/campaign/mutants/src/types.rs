//! Values that a function can return instead of what it computes.

use syn::{GenericArgument, PathArguments, ReturnType, Type, TypePath};

/// Returns expressions that have the type, as far as its name tells.
pub fn values(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec![String::new()],
        ReturnType::Type(_, output) => values_of(output),
    }
}

fn values_of(output: &Type) -> Vec<String> {
    let constant = |value: &str| vec![value.to_owned()];
    match output {
        Type::Tuple(tuple) if tuple.elems.is_empty() => constant("()"),
        Type::Paren(inner) => values_of(&inner.elem),
        Type::Reference(inner) => match &*inner.elem {
            Type::Slice(_) if inner.mutability.is_none() => constant("&[]"),
            Type::Path(path) if path.path.is_ident("str") => constant("\"\""),
            _ => Vec::new(),
        },
        Type::Path(path) => values_of_path(path),
        _ => Vec::new(),
    }
}

fn values_of_path(output: &TypePath) -> Vec<String> {
    let Some(last) = output.path.segments.last() else { return Vec::new() };
    let inner: Vec<&Type> = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(inner) => Some(inner),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    let name = last.ident.to_string();
    let values: &[&str] = match (name.as_str(), inner.as_slice()) {
        ("bool", []) => &["true", "false"],
        ("u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" | "isize", []) => &["0", "1"],
        ("String", []) => &["String::new()"],
        ("Vec", [_]) => &["Vec::new()"],
        ("Duration", []) => &["std::time::Duration::ZERO"],
        ("Option", [_]) => &["None"],
        ("Result", [first, ..]) => {
            return values_of(first).into_iter().map(|value| format!("Ok({value})")).collect();
        }
        _ => &[],
    };
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::values;

    #[test]
    fn values_have_the_type_of_the_function() {
        for (output, expected) in [
            ("", &[""][..]),
            ("-> bool", &["true", "false"]),
            ("-> io::Result<()>", &["Ok(())"]),
            ("-> Result<Option<&'a Path>, Error>", &["Ok(None)"]),
            ("-> Result<u64, Error>", &["Ok(0)", "Ok(1)"]),
            ("-> &'static str", &["\"\""]),
            ("-> Self", &[]),
            ("-> impl Iterator<Item = u8>", &[]),
        ] {
            assert_eq!(values(&syn::parse_str(output).unwrap()), expected, "{output}");
        }
    }
}
