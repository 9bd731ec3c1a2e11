package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
)

// pauses puts a pause at the start of each goroutine that is a function literal, and
// behind each receive and send of a select that waits. No lock is held there, by the habits
// of both Raft and us (selects with a default are found under locks): a pause under a
// lock that another goroutine wants would stop virtual time.
func pauses(path string, b []byte) ([]byte, string, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, b, parser.SkipObjectResolution)
	if err != nil {
		return nil, "", err
	}
	var at []int
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectStmt:
			if !slices.ContainsFunc(n.Body.List, isDefault) {
				for _, c := range n.Body.List {
					at = append(at, fset.Position(c.(*ast.CommClause).Colon).Offset+1)
				}
			}
		case *ast.GoStmt:
			if lit, ok := n.Call.Fun.(*ast.FuncLit); ok {
				at = append(at, fset.Position(lit.Body.Lbrace).Offset+1)
			}
		}
		return true
	})
	slices.Sort(at)
	for _, i := range slices.Backward(at) {
		b = slices.Insert(b, i, []byte(" perturb();")...)
	}
	return b, f.Name.Name, nil
}

func isDefault(s ast.Stmt) bool {
	c, ok := s.(*ast.CommClause)
	return ok && c.Comm == nil
}

// source is the file that says what a pause is: mostly none, or others may run first;
// one in some dozen lasts from 10 µs to 50 ms, one in some thousand up to half a second.
func source(pkg string) []byte {
	return []byte("package " + pkg + `

import (
	"math"
	"math/rand/v2"
	"runtime"
	"time"
)

func perturb() {
	switch n := rand.IntN(4000); {
	case n == 0:
		time.Sleep(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
	case n < 80:
		time.Sleep(time.Duration(float64(10*time.Microsecond) * math.Pow(5000, rand.Float64())))
	case n < 1000:
		for range n % 8 {
			runtime.Gosched()
		}
	}
}
`)
}
