//! All rows of a database at once, for tests: to put an older copy of a disk back, and to look for what must be gone.

use rusqlite::{params_from_iter, types::Value};

use super::{Store, StoreError};

/// Rows by table.
type Tables = Vec<(String, Vec<Vec<Value>>)>;

impl Store {
    /// All rows of all tables, those of openmls included, with what waits for the commit.
    pub(crate) fn all_rows(&self) -> Result<Tables, StoreError> {
        self.begin()?;
        self.write_back()?;
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let names = self.all(sql, [], |row| row.get::<_, String>(0))?;
        let mut tables = Vec::new();
        for name in names {
            let read = |row: &rusqlite::Row<'_>| {
                let columns = 0..row.as_ref().column_count();
                columns
                    .map(|at| row.get(at))
                    .collect::<rusqlite::Result<Vec<Value>>>()
            };
            let rows = self.all(&format!("SELECT * FROM {name}"), [], read)?;
            tables.push((name, rows));
        }
        Ok(tables)
    }

    /// Replaces all rows, in one transaction.
    pub(crate) fn put_all_rows(&self, tables: &Tables) -> Result<(), StoreError> {
        self.connection.pragma_update(None, "foreign_keys", false)?;
        self.begin()?;
        for (name, rows) in tables {
            self.write("create.meta", &format!("DELETE FROM {name}"), [])?;
            for row in rows {
                let places = vec!["?"; row.len()].join(", ");
                let sql = format!("INSERT INTO {name} VALUES({places})");
                self.write("create.meta", &sql, params_from_iter(row))?;
            }
        }
        self.commit()?;
        Ok(self.connection.pragma_update(None, "foreign_keys", true)?)
    }
}
