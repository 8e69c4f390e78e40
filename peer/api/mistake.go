package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/byway-chat/byway/peer"
)

// plain makes a Fault of what the library says of a request that breaks the description, so that every error has the same form, with what is allowed.
func plain(ctx huma.Context, _ string, answer any) (any, error) {
	model, ok := answer.(*huma.ErrorModel)
	if !ok {
		return answer, nil
	}
	f := &Fault{Code: peer.CodeFailed, Message: model.Detail}
	switch {
	case model.Status == http.StatusRequestEntityTooLarge:
		f.Code = peer.CodeTooLarge
	case model.Status/100 == 4:
		f.Code, f.Hint = peer.CodeUsage, "GET /openapi.json describes every request"
	}
	var mistakes []string
	for _, e := range model.Errors {
		mistakes = append(mistakes, mistake(ctx.Operation(), e))
	}
	if len(mistakes) > 0 {
		f.Message = strings.Join(mistakes, "; ")
	}
	return f, nil
}

// mistake says what is wrong with one field of a request.
func mistake(op *huma.Operation, e *huma.ErrorDetail) string {
	in, name, _ := strings.Cut(e.Location, ".")
	for _, p := range op.Parameters {
		if p.In != in || p.Name != name || p.Schema == nil || e.Value == "" {
			continue
		}
		if allowed := described(p.Schema); allowed != "" {
			return fmt.Sprintf("%s is %s, not %s", name, allowed, quoted(e.Value))
		}
	}
	if in == "body" && name != "" || in == "query" || in == "path" {
		return name + ": " + e.Message
	}
	return strings.TrimPrefix(e.Location+": "+e.Message, ": ")
}

// described says what a parameter may be, or nothing where any text is right.
func described(s *huma.Schema) string {
	switch {
	case len(s.Enum) > 0:
		var all []string
		for _, v := range s.Enum {
			all = append(all, fmt.Sprint(v))
		}
		return "one of " + strings.Join(all, ", ")
	case s.Type == huma.TypeBoolean:
		return "true or false"
	case s.Type == huma.TypeInteger && s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf("a whole number from %.0f to %.0f", *s.Minimum, *s.Maximum)
	case s.Type == huma.TypeInteger && s.Minimum != nil:
		return fmt.Sprintf("a whole number, %.0f or more", *s.Minimum)
	case s.Type == huma.TypeInteger:
		return "a whole number"
	case s.Type == huma.TypeString && s.MaxLength != nil:
		return fmt.Sprintf("a text of at most %d characters", *s.MaxLength)
	}
	return ""
}

// maxQuoted is how much of a wrong value is told back, in bytes.
const maxQuoted = 40

func quoted(v any) string {
	text, err := json.Marshal(v)
	if err != nil || len(text) > maxQuoted {
		return "what was given"
	}
	return string(text)
}

// describeFaults puts the form of errors into the description of every answer.
func describeFaults(doc *huma.OpenAPI) {
	fault := doc.Components.Schemas.Schema(reflect.TypeFor[Fault](), true, "Fault")
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post} {
			if op == nil {
				continue
			}
			for _, response := range op.Responses {
				if media := response.Content["application/problem+json"]; media != nil {
					media.Schema = fault
					delete(response.Content, "application/problem+json")
					response.Content["application/json"] = media
				}
			}
		}
	}
}
