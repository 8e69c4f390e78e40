package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/byway-chat/byway/peer"
)

// critic says of a request that breaks the description what is wrong with it, and what is allowed.
type critic struct {
	schemas huma.Registry
}

// plain makes a Fault of what the library says, so that every error has the same form.
func (c critic) plain(ctx huma.Context, _ string, answer any) (any, error) {
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
		mistakes = append(mistakes, c.mistake(ctx.Operation(), e))
	}
	if len(mistakes) > 0 {
		f.Message = strings.Join(mistakes, "; ")
	}
	return f, nil
}

// mistake says what is wrong with one field of a request.
func (c critic) mistake(op *huma.Operation, e *huma.ErrorDetail) string {
	in, name, _ := strings.Cut(e.Location, ".")
	if media := requestOf(op); in == "body" && media != nil {
		return c.inBody(media.Schema, name, e)
	}
	for _, p := range op.Parameters {
		if p.In != in || p.Name != name || p.Schema == nil {
			continue
		}
		if e.Message == "required "+in+" parameter is missing" {
			return fmt.Sprintf("%s is missing: it is %s", name, c.described(p.Schema))
		}
		return fmt.Sprintf("%s is %s, not %s", name, c.described(p.Schema), quoted(e.Value))
	}
	return strings.TrimPrefix(e.Location+": "+e.Message, ": ")
}

func requestOf(op *huma.Operation) *huma.MediaType {
	if op.RequestBody == nil {
		return nil
	}
	return op.RequestBody.Content["application/json"]
}

// inBody says what is wrong at a place in the body, as the library names it: upto.order, ids[3], or nothing for the body as a whole.
func (c critic) inBody(body *huma.Schema, place string, e *huma.ErrorDetail) string {
	s, unknown := c.find(body, place)
	before, after, _ := strings.Cut(validation.MsgExpectedRequiredProperty, "%s")
	missing, isMissing := strings.CutPrefix(strings.TrimSuffix(e.Message, after), before)
	switch {
	case isMissing:
		s, _ = c.find(s, missing)
		return fmt.Sprintf("%s is missing: it is %s", strings.TrimPrefix(place+"."+missing, "."), c.described(s))
	case e.Message == validation.MsgUnexpectedProperty && unknown == "": // its name reads like a place that there is
		return named(place) + " is not known"
	case e.Message == validation.MsgUnexpectedProperty:
		return fmt.Sprintf("%s is not known: there is %s", named(unknown), strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", "))
	case strings.HasPrefix(e.Message, "expected "):
		return fmt.Sprintf("%s is %s, not %s", cmp.Or(place, "the body"), c.described(s), quoted(e.Value))
	}
	return "the body cannot be read: " + e.Message
}

// find follows a place into what s describes, as far as that goes, and returns what is left of it.
func (c critic) find(s *huma.Schema, place string) (*huma.Schema, string) {
	for {
		if s.Ref != "" {
			s = c.schemas.SchemaFromRef(s.Ref)
		}
		name, rest, _ := strings.Cut(place, ".")
		name, _, indexed := strings.Cut(name, "[")
		next := s.Properties[name]
		if next != nil && indexed {
			next = next.Items
		}
		if next == nil {
			return s, place
		}
		s, place = next, rest
	}
}

// described says what may stand where s does.
func (c critic) described(s *huma.Schema) string {
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
	case s.Type == huma.TypeNumber && s.Minimum != nil && s.Maximum != nil:
		return fmt.Sprintf("a number from %v to %v", *s.Minimum, *s.Maximum)
	case s.Type == huma.TypeNumber:
		return "a number"
	case s.Type == huma.TypeString && s.MaxLength != nil:
		return fmt.Sprintf("a text of at most %d characters", *s.MaxLength)
	case s.Type == huma.TypeArray && s.MaxItems != nil:
		return fmt.Sprintf("a list of at most %d", *s.MaxItems)
	case s.Type == huma.TypeArray:
		return "a list"
	case s.Type == huma.TypeObject:
		return "an object with " + strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ")
	}
	return "a text"
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

// named quotes the name of a field that there is not.
func named(field string) string {
	if len(field) > maxQuoted {
		return "a field"
	}
	return strconv.Quote(field)
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
