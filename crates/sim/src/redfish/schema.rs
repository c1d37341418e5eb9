//! Which schemas the resources are of (DSP8010), and the metadata that say so (DSP0266 §8.4).

use super::ROOT;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Each schema with its version, as `@odata.type` has it. Collections have none.
const SCHEMAS: [(&str, &str); 27] = [
    ("AccountService", "v1_13_0"),
    ("BootOption", "v1_0_4"),
    ("Chassis", "v1_23_0"),
    ("ComputerSystem", "v1_20_0"),
    ("Drive", "v1_17_0"),
    ("EthernetInterface", "v1_9_0"),
    ("LogEntry", "v1_15_0"),
    ("LogService", "v1_4_0"),
    ("Manager", "v1_18_0"),
    ("ManagerAccount", "v1_10_0"),
    ("Memory", "v1_17_1"),
    ("Message", "v1_1_2"),
    ("Power", "v1_7_1"),
    ("Processor", "v1_18_0"),
    ("Role", "v1_3_1"),
    ("Sensor", "v1_7_0"),
    ("ServiceRoot", "v1_17_0"),
    ("Session", "v1_5_0"),
    ("SessionService", "v1_1_8"),
    ("Settings", "v1_3_5"),
    ("SoftwareInventory", "v1_9_0"),
    ("Storage", "v1_15_0"),
    ("Task", "v1_7_2"),
    ("TaskService", "v1_2_0"),
    ("Thermal", "v1_7_1"),
    ("UpdateService", "v1_12_0"),
    ("VirtualMedia", "v1_6_0"),
];

const COLLECTIONS: [&str; 14] = [
    "BootOption",
    "Chassis",
    "ComputerSystem",
    "EthernetInterface",
    "LogEntry",
    "LogService",
    "Manager",
    "ManagerAccount",
    "Memory",
    "Processor",
    "Role",
    "Sensor",
    "Session",
    "SoftwareInventory",
];
/// Those whose name is not the member's with `Collection`.
const MORE_COLLECTIONS: [&str; 3] =
    ["StorageCollection", "TaskCollection", "VirtualMediaCollection"];

/// `@odata.type` of a resource.
pub(super) fn kind(name: &str) -> String {
    let version = SCHEMAS.iter().find(|(schema, _)| *schema == name).map_or("", |(_, it)| it);
    format!("#{name}.{version}.{name}")
}

/// A resource's first properties.
pub(super) fn resource(path: &str, schema: &str, id: &str, name: &str) -> Value {
    json!({"@odata.id": path, "@odata.type": kind(schema), "Id": id, "Name": name})
}

/// A collection of members at paths below its own.
pub(super) fn collection<I: AsRef<str>>(
    path: &str,
    schema: &str,
    name: &str,
    ids: impl IntoIterator<Item = I>,
) -> Value {
    let ids = ids.into_iter();
    let members: Vec<Value> =
        ids.map(|id| json!({"@odata.id": format!("{path}/{}", id.as_ref())})).collect();
    json!({
        "@odata.id": path,
        "@odata.type": format!("#{schema}Collection.{schema}Collection"),
        "Name": name,
        "Members@odata.count": members.len(),
        "Members": members,
    })
}

/// The metadata document, which says where the schemas are.
pub(super) fn metadata() -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <edmx:Edmx xmlns:edmx=\"http://docs.oasis-open.org/odata/ns/edmx\" Version=\"4.0\">\n"
        .to_owned();
    let mut refer = |file: &str, includes: &str| {
        let at = "http://redfish.dmtf.org/schemas/v1";
        // Writing to a String does not fail.
        let _ = writeln!(
            xml,
            "  <edmx:Reference Uri=\"{at}/{file}_v1.xml\">{includes}</edmx:Reference>"
        );
    };
    for (schema, version) in SCHEMAS {
        let alias = if schema == "ServiceRoot" { " Alias=\"Root\"" } else { "" };
        let plain = format!("<edmx:Include Namespace=\"{schema}\"/>");
        let versioned = format!("<edmx:Include Namespace=\"{schema}.{version}\"{alias}/>");
        refer(schema, &(plain + &versioned));
    }
    let collections = COLLECTIONS.iter().map(|schema| format!("{schema}Collection"));
    for collection in collections.chain(MORE_COLLECTIONS.map(str::to_owned)) {
        refer(&collection, &format!("<edmx:Include Namespace=\"{collection}\"/>"));
    }
    refer(
        "RedfishExtensions",
        "<edmx:Include Namespace=\"RedfishExtensions.v1_0_0\" Alias=\"Redfish\"/>",
    );
    xml.push_str(
        "  <edmx:DataServices>\n    <Schema xmlns=\"http://docs.oasis-open.org/odata/ns/edm\" Namespace=\"Service\">\n      \
         <EntityContainer Name=\"Service\" Extends=\"Root.ServiceContainer\"/>\n    </Schema>\n  </edmx:DataServices>\n</edmx:Edmx>\n",
    );
    xml
}

/// The OData service document (DSP0266 §8.4.3).
pub(super) fn odata() -> Value {
    let at =
        |name: &str| json!({"name": name, "kind": "Singleton", "url": format!("{ROOT}/{name}")});
    let places = [
        "Systems",
        "Chassis",
        "Managers",
        "Tasks",
        "SessionService",
        "AccountService",
        "UpdateService",
    ];
    let service = json!({"name": "Service", "kind": "Singleton", "url": format!("{ROOT}/")});
    let all: Vec<Value> = [service].into_iter().chain(places.map(at)).collect();
    json!({"@odata.context": format!("{ROOT}/$metadata"), "value": all})
}
