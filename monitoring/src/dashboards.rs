//! The dashboards: rows of panels, each a query with a unit. Grafana's own format is made from them.

use serde_json::{Value, json};

mod content;

pub use content::all;

/// A page of Grafana.
#[derive(Debug, Clone, Copy)]
pub struct Dashboard {
    /// Its id, and the file's name.
    pub uid: &'static str,
    /// What is above it.
    pub title: &'static str,
    /// What its panels are asked for: a name, and the query of its values.
    pub variables: &'static [(&'static str, &'static str)],
    /// Its panels, in reading order.
    pub panels: &'static [Panel],
}

/// One picture.
#[derive(Debug, Clone, Copy)]
pub struct Panel {
    /// What is above it.
    pub title: &'static str,
    /// What is drawn: a query, and how each of its lines is called.
    pub query: (&'static str, &'static str),
    /// What the numbers are, in Grafana's words.
    pub unit: &'static str,
    /// How it is drawn.
    pub look: Look,
}

/// How a panel is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Lines over time.
    Lines,
    /// The newest number, red where it is above 0.
    Bad,
    /// The newest number.
    Number,
    /// A table of the newest numbers.
    Table,
}

const COLUMNS: usize = 24;

impl Dashboard {
    /// Grafana's format.
    #[must_use]
    pub fn json(&self) -> Value {
        let (mut x, mut y, mut panels) = (0, 0, Vec::new());
        for (index, panel) in self.panels.iter().enumerate() {
            let (width, height) = panel.look.size();
            if x + width > COLUMNS {
                (x, y) = (0, y + height);
            }
            panels.push(panel.json(index + 1, &json!({"x": x, "y": y, "w": width, "h": height})));
            x += width;
        }
        let source = json!({"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"});
        let variable = |(name, query): &(&str, &str)| {
            json!({
                "name": name, "type": "query", "query": query, "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "refresh": 2, "includeAll": true, "multi": true, "allValue": ".*", "sort": 1,
                "current": {"text": "All", "value": "$__all"},
            })
        };
        let variables: Vec<Value> =
            std::iter::once(source).chain(self.variables.iter().map(variable)).collect();
        json!({
            "uid": self.uid, "title": self.title, "tags": ["holdfast"], "schemaVersion": 39, "version": 1, "editable": true,
            "refresh": "1m", "time": {"from": "now-24h", "to": "now"}, "timezone": "browser",
            "templating": {"list": variables}, "panels": panels,
        })
    }
}

impl Panel {
    fn json(&self, id: usize, place: &Value) -> Value {
        let (query, legend) = self.query;
        let (kind, instant) = match self.look {
            Look::Lines => ("timeseries", false),
            Look::Bad | Look::Number => ("stat", true),
            Look::Table => ("table", true),
        };
        let steps = match self.look {
            Look::Bad => json!([{"color": "green", "value": null}, {"color": "red", "value": 0.5}]),
            _ => json!([{"color": "blue", "value": null}]),
        };
        json!({
            "id": id, "type": kind, "title": self.title, "gridPos": place,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}, "overrides": []},
            "targets": [{
                "refId": "A", "expr": query, "legendFormat": legend, "instant": instant, "range": !instant,
                "format": if kind == "table" { "table" } else { "time_series" },
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
            }],
        })
    }

    /// The query as it is asked when everything is chosen.
    #[must_use]
    pub fn query_of_all(&self) -> String {
        let mut query = self.query.0.replace("$__rate_interval", "5m");
        for name in ["domain", "volume", "instance"] {
            query = query.replace(&format!("${name}"), ".*");
        }
        query
    }
}

impl Look {
    fn size(self) -> (usize, usize) {
        match self {
            Self::Lines => (12, 8),
            Self::Bad | Self::Number => (6, 4),
            Self::Table => (24, 10),
        }
    }
}
