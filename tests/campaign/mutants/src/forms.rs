//! What the form of an expression, a statement or a pattern tells.

use syn::{Attribute, BinOp, Expr, ItemImpl, Pat, Stmt, Type};

/// Whether the program compiles without the statement, as far as its form tells.
pub fn can_be_skipped(statement: &Stmt) -> bool {
    match statement {
        Stmt::Expr(expression, Some(_)) => match expression {
            Expr::Assign(_) | Expr::Call(_) | Expr::MethodCall(_) | Expr::Try(_) => true,
            Expr::Binary(binary) => is_assignment(&binary.op),
            _ => false,
        },
        Stmt::Local(local) => {
            matches!(local.pat, Pat::Wild(_))
                && local.init.as_ref().is_some_and(|init| {
                    matches!(*init.expr, Expr::Call(_) | Expr::MethodCall(_) | Expr::Try(_))
                })
        }
        _ => false,
    }
}

/// Whether a condition binds names, as in `if let`.
pub fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether a pattern without a guard takes all values.
pub fn takes_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        // A constant is written in capitals.
        Pat::Ident(name) => {
            name.subpat.is_none()
                && name.ident.to_string().starts_with(|first: char| first.is_lowercase())
        }
        _ => false,
    }
}

/// Whether an operator compares by size.
pub fn is_comparison(operator: &BinOp) -> bool {
    matches!(operator, BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_))
}

/// Whether an operator also assigns.
pub fn is_assignment(operator: &BinOp) -> bool {
    matches!(
        operator,
        BinOp::AddAssign(_)
            | BinOp::SubAssign(_)
            | BinOp::MulAssign(_)
            | BinOp::DivAssign(_)
            | BinOp::RemAssign(_)
            | BinOp::BitXorAssign(_)
            | BinOp::BitAndAssign(_)
            | BinOp::BitOrAssign(_)
            | BinOp::ShlAssign(_)
            | BinOp::ShrAssign(_)
    )
}

/// The operator of a mutant.
pub fn other_operator(operator: &BinOp) -> Option<&'static str> {
    Some(match operator {
        BinOp::Eq(_) => "!=",
        BinOp::Ne(_) => "==",
        BinOp::Lt(_) => "<=",
        BinOp::Le(_) => "<",
        BinOp::Gt(_) => ">=",
        BinOp::Ge(_) => ">",
        BinOp::And(_) => "||",
        BinOp::Or(_) => "&&",
        BinOp::Add(_) => "-",
        BinOp::Div(_) => "*",
        BinOp::Sub(_) => "+",
        BinOp::Mul(_) | BinOp::Rem(_) => "/",
        BinOp::BitAnd(_) => "|",
        BinOp::BitOr(_) => "&",
        BinOp::Shl(_) => ">>",
        BinOp::Shr(_) => "<<",
        BinOp::AddAssign(_) => "-=",
        BinOp::SubAssign(_) => "+=",
        BinOp::BitOrAssign(_) => "&=",
        _ => return None,
    })
}

/// The method of a mutant, which takes and returns the same types.
pub fn other_method(name: &str) -> Option<&'static str> {
    Some(match name {
        "min" => "max",
        "max" => "min",
        "any" => "all",
        "all" => "any",
        "saturating_add" => "saturating_sub",
        "saturating_sub" => "saturating_add",
        "checked_add" => "checked_sub",
        "checked_sub" => "checked_add",
        _ => return None,
    })
}

/// The attributes of an expression that can be a statement.
pub fn attributes_of(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Assign(inner) => &inner.attrs,
        Expr::Block(inner) => &inner.attrs,
        Expr::Call(inner) => &inner.attrs,
        Expr::ForLoop(inner) => &inner.attrs,
        Expr::If(inner) => &inner.attrs,
        Expr::Loop(inner) => &inner.attrs,
        Expr::Match(inner) => &inner.attrs,
        Expr::MethodCall(inner) => &inner.attrs,
        Expr::Return(inner) => &inner.attrs,
        Expr::Try(inner) => &inner.attrs,
        Expr::While(inner) => &inner.attrs,
        _ => &[],
    }
}

/// The type of an `impl`.
pub fn name_of_impl(block: &ItemImpl) -> String {
    match &*block.self_ty {
        Type::Path(path) => {
            path.path.segments.last().map_or_else(String::new, |last| last.ident.to_string())
        }
        _ => "impl".to_owned(),
    }
}
