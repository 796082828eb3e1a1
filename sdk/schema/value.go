package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// checkValue checks a value in the HCL form, decoded from JSON with numbers as
// json.Number, against a type. nil is the value of an attribute not set.
func checkValue(t *Type, value any) error {
	if value == nil {
		return nil
	}
	switch t.Kind {
	case Any:
		return nil
	case Number:
		if _, ok := value.(json.Number); ok {
			return nil
		}
	case Bool:
		if _, ok := value.(bool); ok {
			return nil
		}
	case List:
		if list, ok := value.([]any); ok {
			for i, x := range list {
				if err := checkValue(t.Elem, x); err != nil {
					return fmt.Errorf("[%d]: %w", i, err)
				}
			}
			return nil
		}
	case Map:
		if m, ok := value.(map[string]any); ok {
			for k, x := range m {
				if err := checkValue(t.Elem, x); err != nil {
					return fmt.Errorf("%.80q: %w", k, err)
				}
			}
			return nil
		}
	case Object:
		if m, ok := value.(map[string]any); ok {
			return checkObject(t, m)
		}
	case Duration:
		if s, ok := value.(string); ok {
			_, err := time.ParseDuration(s)
			return err
		}
	case Bytes:
		if s, ok := value.(string); ok {
			_, err := ParseBytes(s)
			return err
		}
		if n, ok := value.(json.Number); ok {
			_, err := n.Int64()
			return err
		}
	case URL:
		if s, ok := value.(string); ok {
			u, err := url.Parse(s)
			if err == nil && !u.IsAbs() {
				err = errors.New("not an absolute URL")
			}
			return err
		}
	default: // a string that means something
		if _, ok := value.(string); ok {
			return nil
		}
	}
	return fmt.Errorf("it is not %s", t)
}

func checkObject(t *Type, m map[string]any) error {
	known := make(map[string]bool, len(t.Fields))
	for i := range t.Fields {
		f := &t.Fields[i]
		known[f.Name] = true
		x, ok := m[f.Name]
		if !ok || x == nil {
			if f.Required {
				return fmt.Errorf("%.80q is missing", f.Name)
			}
			continue
		}
		if err := checkValue(&f.Type, x); err != nil {
			return fmt.Errorf("%.80q: %w", f.Name, err)
		}
	}
	for k := range m {
		if !known[k] {
			return fmt.Errorf("there is no field %.80q", k)
		}
	}
	return nil
}

var (
	bytesPattern = pattern(`^(\d+(?:\.\d+)?)\s*([kKMGT]?i?B?)$`)
	bytesUnits   = map[string]float64{
		"": 1, "B": 1,
		"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
		"ki": 1 << 10, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
	}
)

// ParseBytes reads a number of bytes: "512", "64KiB", "1.5MB". K, M, G and T
// are powers of 1000, Ki, Mi, Gi and Ti powers of 1024; the B may be left out.
func ParseBytes(s string) (int64, error) {
	m := bytesPattern().FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return 0, fmt.Errorf("%.40q is not a number of bytes such as 64KiB", s)
	}
	unit := strings.TrimSuffix(m[2], "B")
	if n, err := strconv.ParseInt(m[1], 10, 64); err == nil && unit == "" {
		return n, nil
	}
	n, err := strconv.ParseFloat(m[1], 64)
	scale, ok := bytesUnits[unit]
	n *= scale
	if err != nil || !ok || n >= math.MaxInt64 {
		return 0, fmt.Errorf("%.40q is not a number of bytes such as 64KiB", s)
	}
	return int64(math.Round(n)), nil
}
