//! Finds the places for mutants in a source file.
//!
//! A mutant is chosen at run time, so there are none in constants, patterns, types, attributes and the
//! arguments of macros.

use std::ops::Range;

use proc_macro2::Span;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprConst, ExprIf, ExprLit, ExprMatch,
    ExprMethodCall, ExprRepeat, ExprUnary, ExprWhile, Field, GenericArgument, ImplItem, Item, Lit,
    Local, Macro, Pat, Signature, Stmt, TraitItem, Type, UnOp,
};

use crate::attributes::is_only_for_tests;
use crate::forms::{
    attributes_of, can_be_skipped, has_let, is_comparison, name_of_impl, other_method,
    other_operator, takes_all,
};
use crate::places::Part::{Owned, Selected, Source, Text};
use crate::places::{Kind, Part, Place};
use crate::types::values;

/// As much of the source as a mutant shows, in characters.
const SHOWN: usize = 90;

/// Returns all places of a file in their order.
///
/// # Errors
///
/// Returns an error if the text is not Rust.
pub fn places(text: &str) -> syn::Result<Vec<Place>> {
    let file = syn::parse_file(text)?;
    let mut finder = Finder { text, around: Vec::new(), places: Vec::new() };
    finder.visit_file(&file);
    let mut places = finder.places;
    places.sort_by_key(|place| (place.range.start, place.range.end));
    Ok(places)
}

struct Finder<'a> {
    text: &'a str,
    /// The types, traits and functions around the place.
    around: Vec<String>,
    places: Vec<Place>,
}

impl Finder<'_> {
    fn source(&self, span: Span) -> &str {
        &self.text[span.byte_range()]
    }

    /// Adds a place, and what a mutant does with it.
    fn add(&mut self, kind: Kind, span: Span, after: impl Into<String>, parts: Vec<Part>) {
        self.add_at(kind, span, span.byte_range(), after, parts);
    }

    fn add_at(
        &mut self,
        kind: Kind,
        span: Span,
        range: Range<usize>,
        after: impl Into<String>,
        parts: Vec<Part>,
    ) {
        let (start, before) = (span.start(), in_one_line(self.source(span)));
        self.places.push(Place {
            kind,
            range,
            line: start.line,
            column: start.column + 1,
            function: self.around.join("::"),
            before,
            after: in_one_line(&after.into()),
            parts,
        });
    }

    /// Adds a place whose value is another expression of the same type.
    fn add_other(&mut self, kind: Kind, span: Span, after: &str, other: Vec<Part>) {
        let mut parts = vec![Text("(if "), Selected, Text(" { ")];
        parts.extend(other);
        parts.extend([Text(" } else { "), Source(span.byte_range()), Text(" })")]);
        self.add(kind, span, after, parts);
    }

    /// Adds a place whose value is the opposite one.
    fn add_opposite(&mut self, kind: Kind, span: Span, after: &str) {
        let parts = vec![Text("("), Selected, Text(" != ("), Source(span.byte_range()), Text("))")];
        self.add(kind, span, after, parts);
    }

    /// Adds a condition that always holds, and one that never does.
    fn add_condition(&mut self, kind: Kind, condition: &Expr, can_be_true: bool) {
        let span = condition.span();
        if has_let(condition) {
            let parts = vec![Text("!"), Selected, Text(" && "), Source(span.byte_range())];
            self.add(kind, span, "false", parts);
            return;
        }
        if can_be_true && self.source(span) != "true" {
            let parts =
                vec![Text("("), Selected, Text(" || ("), Source(span.byte_range()), Text("))")];
            self.add(kind, span, "true", parts);
        }
        let parts =
            vec![Text("(!"), Selected, Text(" && ("), Source(span.byte_range()), Text("))")];
        self.add(kind, span, "false", parts);
    }

    /// Adds a function that returns at once.
    fn add_bodies(&mut self, signature: &Signature, block: &Block) {
        let only_statement = match block.stmts.as_slice() {
            [] => return,
            [only] => Some(only),
            _ => None,
        };
        let at = block.brace_token.span.open().byte_range().end;
        for value in values(&signature.output) {
            let is_the_same = only_statement.is_some_and(|only| {
                self.source(only.span()) == value || value.is_empty() && can_be_skipped(only)
            });
            if !is_the_same {
                let after = format!("return {value}").trim_end().to_owned();
                let parts =
                    vec![Text(" if "), Selected, Text(" { return "), Owned(value), Text("; }")];
                self.add_at(Kind::Body, signature.ident.span(), at..at, after, parts);
            }
        }
    }

    /// Visits what is inside of something with a name.
    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.around.push(name);
        visit(self);
        self.around.pop();
    }

    fn function(&mut self, attributes: &[Attribute], signature: &Signature, block: &Block) {
        if signature.constness.is_some() || is_only_for_tests(attributes) {
            return;
        }
        self.within(signature.ident.to_string(), |this| {
            this.add_bodies(signature, block);
            this.visit_block(block);
        });
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Fn(function) => self.function(&function.attrs, &function.sig, &function.block),
            Item::Mod(module) if !is_only_for_tests(&module.attrs) => {
                self.within(module.ident.to_string(), |this| visit::visit_item_mod(this, module));
            }
            Item::Impl(block) if !is_only_for_tests(&block.attrs) => {
                self.within(name_of_impl(block), |this| visit::visit_item_impl(this, block));
            }
            Item::Trait(trait_) if !is_only_for_tests(&trait_.attrs) => {
                self.within(trait_.ident.to_string(), |this| visit::visit_item_trait(this, trait_));
            }
            _ => {}
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if let ImplItem::Fn(function) = item {
            self.function(&function.attrs, &function.sig, &function.block);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if let TraitItem::Fn(function) = item
            && let Some(block) = &function.default
        {
            self.function(&function.attrs, &function.sig, block);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes = match statement {
            Stmt::Local(local) => &local.attrs[..],
            Stmt::Expr(expression, _) => attributes_of(expression),
            Stmt::Item(_) | Stmt::Macro(_) => &[],
        };
        if is_only_for_tests(attributes) {
            return;
        }
        if can_be_skipped(statement) {
            let span = statement.span();
            let source = Source(span.byte_range());
            let parts = vec![Text("if !"), Selected, Text(" { "), source, Text(" }")];
            self.add(Kind::Statement, span, "", parts);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        if !is_only_for_tests(attributes_of(expression)) {
            visit::visit_expr(self, expression);
        }
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        let (span, operator) = (binary.span(), self.source(binary.op.span()).to_owned());
        let (left, right) = (binary.left.span().byte_range(), binary.right.span().byte_range());
        let operands = |other: &'static str| {
            let left = [Text("("), Source(left.clone()), Text(") ")];
            let right = [Text(other), Text(" ("), Source(right.clone()), Text(")")];
            left.into_iter().chain(right).collect()
        };
        let shown = |other: &str| {
            format!("{} {other} {}", &self.text[left.clone()], &self.text[right.clone()])
        };
        let other = other_operator(&binary.op);
        match (other, &binary.op) {
            (Some(other), BinOp::Eq(_) | BinOp::Ne(_)) => {
                let after = shown(other);
                self.add_opposite(Kind::Comparison, span, &after);
            }
            (Some(other), BinOp::And(_) | BinOp::Or(_))
                if !has_let(&binary.left) && !has_let(&binary.right) =>
            {
                let after = shown(other);
                self.add_other(Kind::Logic, span, &after, operands(other));
            }
            (Some(_), BinOp::And(_) | BinOp::Or(_)) | (None, _) => {}
            (Some(other), op) => {
                let kind = if is_comparison(op) { Kind::Comparison } else { Kind::Arithmetic };
                let after = shown(other);
                if operator.ends_with('=') && kind == Kind::Arithmetic {
                    // An assignment without a value of its own.
                    let parts = vec![
                        Text("if "),
                        Selected,
                        Text(" { "),
                        Source(left.clone()),
                        Text(" "),
                        Text(other),
                        Text(" "),
                        Source(right.clone()),
                        Text(" } else { "),
                        Source(span.byte_range()),
                        Text(" }"),
                    ];
                    self.add(kind, span, after, parts);
                } else {
                    self.add_other(kind, span, &after, operands(other));
                }
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        if matches!(unary.op, UnOp::Not(_)) {
            let inner = unary.expr.span();
            let after = self.source(inner).to_owned();
            self.add_other(Kind::Negation, unary.span(), &after, vec![Source(inner.byte_range())]);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_lit(&mut self, literal: &'ast ExprLit) {
        let span = literal.span();
        match &literal.lit {
            Lit::Int(number) => {
                if let Ok(value) = number.base10_parse::<u128>() {
                    // Most types have no number below 0, and 0 and 1 often differ in kind.
                    let other = if value < 2 { value + 1 } else { value - 1 };
                    let after = format!("{other}{}", number.suffix());
                    self.add_other(Kind::Number, span, &after.clone(), vec![Owned(after)]);
                }
            }
            Lit::Bool(value) => {
                let other = if value.value { "false" } else { "true" };
                self.add_opposite(Kind::Boolean, span, other);
            }
            _ => {}
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let (span, method) = (call.span(), call.method.span().byte_range());
        let name = call.method.to_string();
        match name.as_str() {
            "is_some" | "is_none" | "is_ok" | "is_err" | "is_empty" | "contains"
            | "contains_key" | "starts_with" | "ends_with" => {
                let after = format!("!{}", self.source(span));
                self.add_opposite(Kind::Method, span, &after);
            }
            _ => {
                if let Some(other) = other_method(&name) {
                    let (whole, text) = (span.byte_range(), self.text);
                    let (before, after) = (whole.start..method.start, method.end..whole.end);
                    let shown = format!("{}{other}{}", &text[before.clone()], &text[after.clone()]);
                    let parts = vec![Source(before), Text(other), Source(after)];
                    self.add_other(Kind::Method, span, &shown, parts);
                }
            }
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_if(&mut self, conditional: &'ast ExprIf) {
        self.add_condition(Kind::Condition, &conditional.cond, true);
        visit::visit_expr_if(self, conditional);
    }

    fn visit_expr_while(&mut self, repeated: &'ast ExprWhile) {
        self.add_condition(Kind::Condition, &repeated.cond, false);
        visit::visit_expr_while(self, repeated);
    }

    fn visit_expr_match(&mut self, choice: &'ast ExprMatch) {
        let last = choice.arms.last().filter(|arm| arm.guard.is_none() && takes_all(&arm.pat));
        for arm in &choice.arms {
            let is_the_same = last
                .is_some_and(|last| self.source(last.body.span()) == self.source(arm.body.span()));
            if last.is_some()
                && arm.guard.is_none()
                && !is_the_same
                && !is_only_for_tests(&arm.attrs)
            {
                let span = arm.pat.span();
                let parts = vec![Source(span.byte_range()), Text(" if !"), Selected];
                self.add(Kind::Arm, span, "", parts);
            }
        }
        visit::visit_expr_match(self, choice);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        if is_only_for_tests(&arm.attrs) {
            return;
        }
        if let Some((_, guard)) = &arm.guard {
            self.add_condition(Kind::Guard, guard, true);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_local(&mut self, local: &'ast Local) {
        if !is_only_for_tests(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_field(&mut self, _: &'ast Field) {}
    fn visit_macro(&mut self, _: &'ast Macro) {}
    fn visit_generic_argument(&mut self, _: &'ast GenericArgument) {}
    fn visit_expr_const(&mut self, _: &'ast ExprConst) {}
}

/// The text without line breaks, cut after some characters.
fn in_one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
