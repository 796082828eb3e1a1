package expression

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Fold returns the text of an expression on one line, with the spaces that
// people write: two that differ in white space and comments only give the same.
func Fold(src []byte) string {
	var s strings.Builder
	tokens, _ := hclsyntax.LexExpression(src, "", hcl.InitialPos)
	before := hclsyntax.TokenOQuote // no space at the start
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEOF:
			continue
		}
		if spaced(before, t.Type) {
			s.WriteByte(' ')
		}
		before = t.Type
		s.Write(t.Bytes)
	}
	return s.String()
}

// spaced reports whether a space stands between two tokens; inside of a
// template nothing may be added.
func spaced(before, t hclsyntax.TokenType) bool {
	switch before {
	case hclsyntax.TokenOQuote, hclsyntax.TokenQuotedLit, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
		hclsyntax.TokenDot, hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenBang:
		return false
	}
	switch t {
	case hclsyntax.TokenQuotedLit, hclsyntax.TokenCQuote, hclsyntax.TokenTemplateSeqEnd,
		hclsyntax.TokenDot, hclsyntax.TokenComma, hclsyntax.TokenCParen, hclsyntax.TokenCBrack:
		return false
	case hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
		return before != hclsyntax.TokenTemplateSeqEnd
	case hclsyntax.TokenOParen, hclsyntax.TokenOBrack:
		return before != hclsyntax.TokenIdent && before != hclsyntax.TokenCParen && before != hclsyntax.TokenCBrack
	}
	return true
}
